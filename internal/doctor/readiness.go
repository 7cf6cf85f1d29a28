package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// Check is why a storage cannot be used on a worker, as the worker's agent found out by mounting it.
type Check struct {
	Message string    // what the helper, the kernel or the store said
	At      time.Time // when
	// Dead: the process that serves the mount of an object store is gone.
	Dead    bool
	Pending int      // files that it had not uploaded
	Files   []string // some of them, for administrators alone: their names are those of other users' files
}

// officialNFS is the CSI driver that brings a mount.nfs of its own.
const officialNFS = "nfs.csi.k8s.io"

// Equipment is what a worker has to mount with, as its agent found it.
type Equipment struct {
	Helpers map[string]bool   // mount.nfs, ...
	Modules map[string]string // nfs, cifs, fuse: "loaded", "loadable", "absent"
	FUSE    bool
	Flex    []string
	CSI     []string
}

// Lacks is what a worker is without, each with what mends it. What our own drivers do not need is not missed.
func Lacks(node string, e Equipment) []pai.Finding {
	var out []pai.Finding
	add := func(entry *Entry, fix, format string, args ...any) {
		out = append(out, entry.finding("node "+node, fix, "node %s %s", node, fmt.Sprintf(format, args...)))
	}
	switch {
	case e.Helpers["mount.nfs"]:
	case slices.Contains(e.CSI, officialNFS):
		add(helperNFS, "paictl node prepare "+node, "cannot mount nfs storages but those of %s: mount.nfs is missing", officialNFS)
	default:
		add(helperNFS, "paictl node prepare "+node, "cannot mount nfs storages: mount.nfs is missing")
	}
	for _, x := range []struct{ module, kinds string }{{"nfs", "nfs"}, {"cifs", "samba and azureFile"}} {
		if e.Modules[x.module] == "absent" {
			add(kernelModule, "paictl node prepare "+node, "cannot mount %s storages: its kernel has no %s", x.kinds, x.module)
		}
	}
	if !e.FUSE {
		add(noFUSE, "paictl node prepare "+node, "cannot mount azureBlob and s3 storages: it has no FUSE")
	}
	return out
}

// lacks is what keeps a worker from mounting storages of a type.
func (e Equipment) lacks(t pai.StorageType) []string {
	var out []string
	need := func(there bool, what string) {
		if !there {
			out = append(out, what)
		}
	}
	driver := func(flex string, csi ...string) {
		there := slices.Contains(e.Flex, flex) || slices.ContainsFunc(csi, func(name string) bool { return slices.Contains(e.CSI, name) })
		need(there, "the CSI driver "+csi[0]+" is not registered")
	}
	switch t {
	case pai.StorageNFS:
		need(e.Helpers["mount.nfs"] || slices.Contains(e.CSI, officialNFS), "mount.nfs is missing")
		need(e.Modules["nfs"] != "absent", "its kernel has no nfs")
	case pai.StorageSamba:
		need(e.Modules["cifs"] != "absent", "its kernel has no cifs")
		driver("microsoft.com/smb", "csi.pai.storage", "smb.csi.k8s.io")
	case pai.StorageAzureFile:
		need(e.Modules["cifs"] != "absent", "its kernel has no cifs")
		driver("", "file.csi.azure.com")
	case pai.StorageAzureBlob:
		need(e.FUSE, "it has no FUSE")
		driver("azure/blobfuse", "csi.pai.storage", "blob.csi.azure.com")
	case pai.StorageS3:
		need(e.FUSE, "it has no FUSE")
		driver("", "csi.pai.storage")
	}
	return out
}

// Silent is about a worker whose agent says nothing any more, or, when since is zero, never has.
func Silent(node string, since time.Time) pai.Finding {
	what := "has never said anything"
	if !since.IsZero() {
		what = "has said nothing since " + since.UTC().Format(time.RFC3339)
	}
	f := agentSilent.finding("node "+node, "see whether its pod runs: paictl service status node-agent", "the agent of node %s %s", node, what)
	f.Since = since
	return f
}

// DeadMount is about the mount of an object store whose process is gone, for administrators.
func DeadMount(node, source string, x Check) pai.Finding {
	f := mountDead.finding("node "+node, mountDeadFix(node, x), "the process that serves %s on node %s is gone%s", source, node, unsaved(x)+named(x))
	f.Since = x.At
	return f
}

// LostFiles is about what a mount of an object store that is no more had not uploaded, for administrators. No task has anything of it.
func LostFiles(node, source string, x Check) pai.Finding {
	fix := "on node " + node + ", see /var/lib/pai-storage/bin/pai-mount list; copy what is needed from /var/lib/pai-storage/lost, and remove its directory there"
	f := filesLost.finding("node "+node, fix, "a mount of %s on node %s ended%s", source, node, unsaved(x)+named(x))
	f.Since = x.At
	return f
}

// UploadsFail is about the mount of an object store that serves, and cannot upload what was written, for administrators.
func UploadsFail(node, source string, x Check) pai.Finding {
	f := uploadsFail.finding("node "+node, "mend what the store says; the files are tried again and again, and node "+node+" should not be switched off before",
		"%s on node %s does not take what was written%s", source, node, unsaved(x)+named(x))
	f.Since, f.Evidence = x.At, x.Message
	return f
}

func mountDeadFix(node string, x Check) string {
	fix := "end the tasks on " + node + " that use it, so that it is mounted anew"
	if x.Pending > 0 {
		fix += "; what was not uploaded is kept on the node: /var/lib/pai-storage/bin/pai-mount list"
	}
	return fix
}

// unsaved is how much was not uploaded, in words that everybody may see.
func unsaved(x Check) string {
	if x.Pending == 0 {
		return ""
	}
	files := "files were"
	if x.Pending == 1 {
		files = "file was"
	}
	return fmt.Sprintf("; %d %s not uploaded", x.Pending, files)
}

// named are some of the files that were not uploaded, for administrators.
func named(x Check) string {
	if x.Pending == 0 || len(x.Files) == 0 {
		return ""
	}
	return ": " + few(x.Files)
}

// Cell is why a worker cannot use a storage.
func Cell(s Storage, node, message string, at time.Time) pai.Finding {
	f := mountFault(s, node, message)
	f.Evidence, f.Since = Quote(strings.TrimSpace(message)), at
	return f
}

// checked is what the worker's agent says about the storages of a task; it tells whether that is anything.
func (d *diagnosis) checked(t Task) bool {
	before := len(d.found)
	for _, s := range d.Storages {
		x, bad := s.Checks[t.Node]
		switch {
		case !bad:
		case x.Dead && t.State == pai.JobRunning:
			f := mountDead.finding("node "+t.Node, mountDeadFix(t.Node, x), "%s is broken on node %s: the process that serves it is gone%s", describe(s), t.Node, unsaved(x))
			f.Since = x.At
			d.add(f, t.Name)
		case !x.Dead && t.State != pai.JobRunning && (t.Sandbox == nil || !*t.Sandbox): // else everything is mounted
			d.addRanked(likely, Cell(s, t.Node, x.Message, x.At), t.Name)
		}
	}
	return len(d.found) > before
}
