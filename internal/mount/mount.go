// Package mount mounts volumes on a worker: one engine for the FlexVolume drivers, the CSI driver and the checks of the node agent.
//
// Use it wherever something is mounted on a worker. Its rules:
//
//   - The kernel may hang. [Engine] does what is to be done and may hang with it; [Host] runs the engine in a process that is given up in time.
//   - Secrets travel by file descriptor or in files of mode 0600, never in a command line, an environment that others can read, or a message.
//   - Mounting what is mounted already, and unmounting what is not mounted, are successes.
//   - What the helper said is in [*Error].Output, without secrets; package doctor makes a finding of it.
//
// Example:
//
//	host := &mount.Host{Program: "/usr/bin/pai-mount", Root: "/proc/1", There: "/var/lib/pai-storage/bin/pai-mount"}
//	err := host.Mount(ctx, "/mnt/home", mount.Volume{Kind: mount.SMB, Source: "//10.0.0.1/home"}, mount.Secret{"username": "alice", "password": "..."})
package mount

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Kind is the kind of file system that a volume is.
type Kind string

// The kinds that the engine mounts.
const (
	NFS       Kind = "nfs"
	SMB       Kind = "smb"
	AzureBlob Kind = "azureBlob"
	S3        Kind = "s3"
)

// Volume says what is to be mounted, and how. It holds no secret.
type Volume struct {
	Kind Kind `json:"kind"`
	// Source is SERVER:/PATH for NFS, //HOST/SHARE[/DIRECTORY] for SMB, CONTAINER[/PREFIX] for Azure Blob, BUCKET[/PREFIX] for S3.
	Source string `json:"source"`
	// Endpoint is the URL of the object store's service; "" for the public cloud's.
	Endpoint string `json:"endpoint,omitempty"`
	Region   string `json:"region,omitempty"` // of S3
	// Options are mount options: those of nfs(5) and mount.cifs(8); for object stores allow_other, umask, uid, gid, file_mode, dir_mode,
	// default_permissions, and those that package volume translates into them.
	Options  []string `json:"options,omitempty"`
	ReadOnly bool     `json:"readOnly,omitempty"`
}

// Object says whether the volume is in an object store, which a process of ours serves.
func (v Volume) Object() bool { return v.Kind == AzureBlob || v.Kind == S3 }

// Secret is what a volume is mounted with. Its keys are
//
//	SMB         username, password, domain (optional); none of them for a guest
//	AzureBlob   accountname, and accountkey or accountsastoken
//	S3          accesskey, secretkey; none of them for anonymous access
//
// It prints as "[redacted]".
type Secret map[string]string

// String hides the content.
func (Secret) String() string { return "[redacted]" }

// GoString hides the content.
func (Secret) GoString() string { return "[redacted]" }

// Keys lists the names of what is in it, sorted.
func (s Secret) Keys() []string { return slices.Sorted(maps.Keys(s)) }

// Mounter is what front ends need: [*Engine] does it in its own process, [*Host] in one that can be given up, in the machine's namespaces.
type Mounter interface {
	// Mount mounts a volume on a directory, which is made if need be. [*Error] when it cannot.
	Mount(ctx context.Context, target string, v Volume, s Secret) error

	// Unmount takes a mount away. That of an object store returns when everything that was written is uploaded; when ctx ends before, the
	// error says how much is not, the uploads go on, and calling again waits for them.
	Unmount(ctx context.Context, target string) error

	// Bind makes a directory or a file visible at a second place.
	Bind(ctx context.Context, source, target string, readOnly bool) error

	// Usage is how full the file system at a path is.
	Usage(ctx context.Context, path string) (Usage, error)

	// Mounted tells whether something is mounted on exactly this path.
	Mounted(ctx context.Context, target string) (bool, error)

	// Served lists the object store mounts of this machine with how each is.
	Served(ctx context.Context) ([]Served, error)

	// Check mounts the volume in a mount namespace of its own, reads, writes and deletes a small file unless the volume is read-only, and
	// unmounts. Its error is an [*Error] when the volume cannot be used.
	Check(ctx context.Context, v Volume, s Secret) (Checked, error)
}

// Usage is how full a file system is. Numbers that are not known are -1.
type Usage struct {
	Size, Free, Used               int64 // bytes
	Inodes, InodesFree, InodesUsed int64
}

// Served is an object store mount, which a process of its own serves.
type Served struct {
	Target  string    `json:"target"`
	Volume  Volume    `json:"volume"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Alive   bool      `json:"alive"`           // false: its process is gone, and whoever uses the mount gets "Transport endpoint is not connected"
	Lost    bool      `json:"lost,omitempty"`  // it is no mount any more: files are kept that it had not uploaded at its end
	Pending int       `json:"pending"`         // files that are not uploaded yet
	Bytes   int64     `json:"bytes"`           // of them
	Fault   string    `json:"fault,omitempty"` // the last upload that did not work
	Files   []string  `json:"files,omitempty"` // some of the files that are not uploaded
}

// Checked is how a check went.
type Checked struct {
	Mount time.Duration // until it was mounted
	Total time.Duration // with the probe and unmounting
	Usage Usage
	// WriteDenied: the volume can be read, and the root of this machine may not write into its topmost directory, which is no fault of a
	// volume whose folders belong to users.
	WriteDenied bool
}

// Error is a mount or unmount that did not work.
type Error struct {
	Op     string // such as "mount //10.0.0.1/home"
	Output string // what the helper or the kernel said, without secrets; such as "mount error(13): Permission denied"
	Err    error
}

// Error puts together what is known.
func (e *Error) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Op, e.Output)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
