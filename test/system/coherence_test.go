package system

import (
	"strings"
	"testing"
)

// way is one way to the files of the share data.
type way struct {
	name string
	dir  string
	run  func(t *testing.T, command string) string
}

// What is made, changed and looked at, in a directory; and what one sees before and after it. The order of names is that of ls.
const (
	prepareChanges = `echo one > append; echo aaaa > over; echo long text > trunc; echo renamed > old-name; echo gone > gone`
	doChanges      = `echo two >> append; echo bbbb > over; echo x > trunc; echo new > new; mv old-name new-name; rm gone`
	lookAtChanges  = `for f in append gone new new-name old-name over trunc; do echo "$f: $(cat $f 2>/dev/null | tr '\n' ' ')"; done; ls | tr '\n' ' '`
	beforeChanges  = "append: one \ngone: gone \nnew: \nnew-name: \nold-name: renamed \nover: aaaa \ntrunc: long text \nappend gone old-name over trunc "
	afterChanges   = "append: one two \ngone: \nnew: new \nnew-name: renamed \nold-name: \nover: bbbb \ntrunc: x \nappend new new-name over trunc "
)

// coherence: what was changed one way, each other way shows at the next look, also where it had looked before: made, appended, overwritten with as
// many bytes, cut, renamed, removed. The clients are told to remember nothing themselves, so what is asked is what the servers remember.
func (f *faultLab) coherence(t *testing.T) {
	// Linux' SMB client remembers for a second that a name is not there, whatever actimeo says. This setting is the only way to tell it not to.
	const absent = "/proc/fs/cifs/LookupCacheEnabled"
	f.undo(t, "worker2", "umount -l /mnt/look-nfs /mnt/look-smb; echo 1 > "+absent)
	f.on(t, "worker2", "modprobe cifs; echo 0 > "+absent+"; mkdir -p /mnt/look-nfs /mnt/look-smb; mount -t nfs -o nfsvers=4.1,noac,lookupcache=none 10.0.0.1:/data /mnt/look-nfs && "+
		"mount -t cifs //10.0.0.1/data /mnt/look-smb -o vers=3.1.1,actimeo=0,username=smbuser,password="+smbPassword)
	f.declare(t, claim{name: "sm-look", source: nfs("/data"), options: version41 + ", noac, lookupcache=none"})
	f.bound(t, "sm-look")
	t.Cleanup(func() { f.kubectl(t, "delete", "pod", "looker", "--wait=false") })
	f.apply(t, strings.Replace(pod("looker", "worker1", "exec sleep 36000"), "claimName: nfs-storage", "claimName: sm-look", 1))
	f.ready(t, "looker")
	on := func(worker string) func(*testing.T, string) string {
		return func(t *testing.T, command string) string { return f.on(t, worker, command) }
	}
	inPod := func(t *testing.T, command string) string {
		return f.kubectl(t, "exec", "looker", "--", "sh", "-c", command).mustSucceed(t, command).out
	}
	ways := []way{
		{"NFS", "/mnt/look-nfs", on("worker2")}, {"SMB", "/mnt/look-smb", on("worker2")},
		{"a job", "/data", inPod}, {"the disk", "/share/data", on("worker1")},
	}
	for _, from := range ways {
		for _, to := range ways {
			if from.name == to.name {
				continue
			}
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				in := func(w way, command string) string { return w.run(t, "cd "+w.dir+"/seen/deep && { "+command+"; }") }
				f.on(t, "worker1", "rm -rf /share/data/seen; mkdir -p /share/data/seen/deep; cd /share/data/seen/deep; "+prepareChanges+"; chown -R 1000:1000 /share/data/seen")
				if got := in(to, lookAtChanges); got != beforeChanges {
					t.Fatalf("before the changes %s shows\n%s\nwant\n%s", to.name, got, beforeChanges)
				}
				in(from, doChanges)
				if got := in(to, lookAtChanges); got != afterChanges {
					t.Errorf("after the changes %s shows\n%s\nwant\n%s", to.name, got, afterChanges)
				}
			})
		}
	}
	t.Run("an NFS client that remembers what it saw", func(t *testing.T) {
		f.on(t, "worker1", "rm -rf /share/data/seen; mkdir -p /share/data/seen; cd /share/data/seen; "+prepareChanges+"; chown -R 1000:1000 .")
		const read = "cd /mnt/nfs/seen && cat append over trunc"
		f.on(t, "worker2", read+" && ls")
		f.on(t, "worker2", "cd /mnt/smb/seen && echo two >> append; echo bbbb > over; echo x > trunc")
		if got, want := f.on(t, "worker2", read), "one\ntwo\nbbbb\nx\n"; got != want { // each open asks the server
			t.Errorf("it reads %q, want %q", got, want)
		}
	})
	f.on(t, "worker1", "rm -rf /share/data/seen")
}
