package system

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/await"
)

// defaultServers are NFS-Ganesha and Samba as Debian configures them, beside the storage manager: what has to be said for anything to be served,
// other ports, and without PAM, which the image does not have.
const defaultServers = `
apiVersion: v1
kind: Pod
metadata: {name: default-servers, namespace: pai-system}
spec:
  nodeName: worker1
  hostNetwork: true
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: servers
      image: pai.local/storage-manager:1
      command: [sh, -c]
      args:
        - |
          set -e
          mkdir -p /share/default /var/log/samba /run/samba /run/dbus /var/lib/samba/private /var/log/ganesha /var/run/ganesha /var/lib/nfs/ganesha
          chown 1000:1000 /share/default
          ln -sf /proc/mounts /etc/mtab
          printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nbench:x:1000:1000::/:/bin/sh\n' > /etc/passwd
          printf 'root:x:0:\nnogroup:x:65534:\nbench:x:1000:\n' > /etc/group
          { echo '[global]'; echo '   smb ports = 1445'; sed -n '/^\[global\]/,/^\[homes\]/p' /usr/share/samba/smb.conf | sed '1d;$d;/pam/d'; } > /etc/samba/smb.conf
          printf '[default]\n   path = /share/default\n   read only = no\n' >> /etc/samba/smb.conf
          printf '[coherent]\n   path = /share/default\n   read only = no\n   oplocks = no\n   level2 oplocks = no\n' >> /etc/samba/smb.conf
          printf 'bench-password\nbench-password\n' | smbpasswd -s -a bench
          smbd --foreground --no-process-group &
          cat > /etc/ganesha/ganesha.conf <<'END'
          NFS_CORE_PARAM { NFS_Port = 2050; Protocols = 4; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; }
          EXPORT { Export_Id = 77; Path = "/share/default"; Pseudo = "/default"; Access_Type = RW; Squash = No_root_squash; SecType = sys; FSAL { Name = VFS; } }
          END
          { # the same, but that it remembers nothing that others may change
            sed 's/2050/2051/; s/SecType = sys;/& Attr_Expiration_Time = 0;/' /etc/ganesha/ganesha.conf
            echo 'MDCACHE { Dir_Chunk = 0; } NFSv4 { RecoveryBackend = fs; RecoveryRoot = "/tmp/coherent"; }'
          } > /etc/ganesha/coherent.conf
          mkdir /tmp/coherent
          ganesha.nfsd -F -L STDOUT -f /etc/ganesha/coherent.conf -p /tmp/coherent.pid &
          exec ganesha.nfsd -F -L STDOUT -f /etc/ganesha/ganesha.conf -p /tmp/ganesha.pid
      securityContext: {privileged: true}
      volumeMounts: [{name: share, mountPath: /share}]
  volumes:
    - name: share
      hostPath: {path: /share}
`

// place is somewhere to write to and to read from, on the machine of the server.
type place struct{ name, mount string }

// places in which the same work is done: the storage manager's; Debian's servers with the same two promises (coherent with what others change,
// SMB encrypted); and Debian's without.
func places() []place {
	smb := func(share, port, account, more string) string {
		return "mount -t cifs //10.0.0.1/" + share + " /mnt/speed -o hard,vers=3.1.1,port=" + port + "," + account + more
	}
	const ours, theirs = "username=smbuser,password=" + smbPassword, "username=bench,password=bench-password,uid=1000,gid=1000"
	return []place{
		{"disk", "mount --bind /share/data /mnt/speed"},
		{"NFS, ours", "mount -t nfs -o nfsvers=4.2 10.0.0.1:/data /mnt/speed"},
		{"NFS, Debian's, as ours", "mount -t nfs -o nfsvers=4.2,port=2051 10.0.0.1:/default /mnt/speed"},
		{"NFS, Debian's", "mount -t nfs -o nfsvers=4.2,port=2050 10.0.0.1:/default /mnt/speed"},
		{"SMB, ours", smb("data", "445", ours, "")},
		{"SMB, Debian's, as ours", smb("coherent", "1445", theirs, ",seal")}, // encrypted, and nothing in clients' memories that NFS clients may change
		{"SMB, Debian's", smb("default", "1445", theirs, "")},
	}
}

// work is done in a directory; each line that it prints is a name and milliseconds. Caches are dropped before anything is read.
const work = `
set -e
cd /mnt/speed; rm -rf speed; mkdir speed; cd speed
now() { date +%%s%%N; }
told() { echo "$1 $((($(now) - start) / 1000000))"; }
cold() { cd /; umount /mnt/speed; sync; echo 3 > /proc/sys/vm/drop_caches; %[1]s; cd /mnt/speed/speed; }
start=$(now); dd if=/dev/zero of=big bs=1M count=%[2]d conv=fsync 2>/dev/null; told sequential-write
cold; start=$(now); dd if=big of=/dev/null bs=1M 2>/dev/null; told sequential-read
start=$(now); tar -xf /dev/shm/small.tar; sync -f .; told small-write
cold; start=$(now); find small -type f -print0 | xargs -0 cat > /dev/null; told small-read
start=$(now); rm -rf small; told small-remove
cd /mnt/speed; rm -rf speed
`

// speed measures the storage manager's servers beside Debian's configuration of the same programs and beside the disk, in turns.
func (f *faultLab) speed(t *testing.T, rounds, megabytes, files int) {
	f.kubectl(t, "-n", "pai-system", "delete", "pod", "default-servers", "--ignore-not-found", "--wait")
	f.apply(t, defaultServers)
	t.Cleanup(func() { f.kubectl(t, "-n", "pai-system", "delete", "pod", "default-servers", "--wait=false") })
	f.undo(t, "worker1", "umount -l /mnt/speed; rm -rf /share/default /dev/shm/small /dev/shm/small.tar")
	f.on(t, "worker1", fmt.Sprintf(`mkdir -p /mnt/speed /dev/shm/small; cd /dev/shm
		for i in $(seq %d); do head -c 4096 /dev/urandom > small/$i; done; tar -cf small.tar small`, files))
	await.Until(t, "the other servers serve", func() bool {
		listening := f.on(t, "worker1", "ss -ltn")
		return strings.Contains(listening, ":2050 ") && strings.Contains(listening, ":2051 ") && strings.Contains(listening, ":1445 ")
	})
	took := map[string]map[string][]float64{}
	var steps []string
	for round := range rounds {
		turns := places()
		if round%2 == 1 {
			slices.Reverse(turns)
		}
		for _, p := range turns {
			out := f.on(t, "worker1", "umount -l /mnt/speed 2>/dev/null; "+p.mount+" && "+fmt.Sprintf(work, p.mount, megabytes)+"cd /; umount /mnt/speed")
			for line := range strings.Lines(out) {
				step, ms, ok := strings.Cut(strings.TrimSpace(line), " ")
				n, err := strconv.ParseFloat(ms, 64)
				if !ok || err != nil {
					t.Fatalf("%s: %q", p.name, out)
				}
				if took[step] == nil {
					took[step], steps = map[string][]float64{}, append(steps, step)
				}
				took[step][p.name] = append(took[step][p.name], n)
			}
		}
	}
	if len(steps) != 5 {
		t.Fatalf("measured %v", steps)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%-18s", "seconds, median")
	for _, p := range places() {
		fmt.Fprintf(&table, "  %22s", p.name)
	}
	for _, step := range steps {
		fmt.Fprintf(&table, "\n%-18s", step)
		for _, p := range places() {
			fmt.Fprintf(&table, "  %13.2f (%5.2f)", median(took[step][p.name])/1000, median(took[step][p.name])/median(took[step]["disk"]))
		}
	}
	t.Logf("%d MiB at a time and %d files of 4 KiB, %d rounds; in parentheses: times the disk\n%s", megabytes, files, rounds, &table)
	// Medians of a few turns on a shared machine differ by chance; what is slower by more than that is a fault.
	const chance = 1.25
	for _, step := range steps {
		for _, protocol := range []string{"NFS", "SMB"} {
			ours, theirs := median(took[step][protocol+", ours"]), median(took[step][protocol+", Debian's, as ours"])
			if ours > chance*theirs {
				t.Errorf("%s by %s: %.2f s, and %.2f s by a server as Debian configures it with the same promises", step, protocol, ours/1000, theirs/1000)
			}
		}
	}
}
