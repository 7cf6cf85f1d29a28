// Package storagecheck is what the REST server and the agents on the workers tell each other about storages: orders, which say what is to
// be checked, and reports, which say what was found. Both are JSON.
//
// An order is a Secret of the namespace [OrderNamespace], one for each storage that a group holds, named after it, with the key "order";
// it holds what the storage is mounted with. A report is a ConfigMap of the namespace [ReportNamespace], one for each worker, named after
// it, with the key "report"; it never holds a secret.
package storagecheck

import (
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// Where orders and reports are.
const (
	OrderNamespace  = "pai-storage-check"
	ReportNamespace = "pai-node-report"
	OrderKey        = "order"
	ReportKey       = "report"
)

// Order asks workers to check a storage.
type Order struct {
	Storage string        `json:"storage"`
	Type    string        `json:"type"`            // as pai.StorageType
	Mount   *mount.Volume `json:"mount,omitempty"` // nil: nothing is mounted for the check, only Path, Driver and FlexDriver are looked for
	Secret  mount.Secret  `json:"secret,omitempty"`
	Path    string        `json:"path,omitempty"`   // of hostPath and local volumes, on the worker
	Driver  string        `json:"driver,omitempty"` // of CSI: it must be registered
	Flex    string        `json:"flex,omitempty"`   // FlexVolume driver, vendor/name: it must be installed
	Nodes   []string      `json:"nodes,omitempty"`  // the only workers that it is for; empty for all
	// Unmounted is why nothing is mounted for the check although the volume would be for a pod. Whether it can be used is then not known.
	Unmounted string `json:"unmounted,omitempty"`
	// OwnFault is what is wrong where the agent itself is the driver, and is no fault of the official driver of that name.
	OwnFault string `json:"ownFault,omitempty"`
	Fault    string `json:"fault,omitempty"` // why it cannot be checked, such as a missing Secret: as the kubelet would say it
}

// Report is what one worker's agent knows.
type Report struct {
	Node  string    `json:"node"`
	Time  time.Time `json:"time"` // of the report
	Facts Facts     `json:"facts"`
	// Results by storage.
	Results map[string]Result `json:"results"`
	// Mounts are the object store mounts of the worker; one that is not alive is broken for whoever uses it.
	Mounts []mount.Served `json:"mounts,omitempty"`
	// Faults are what the agent itself could not do, such as to install a driver.
	Faults []string `json:"faults,omitempty"`
}

// Facts are what a worker has to mount with.
type Facts struct {
	Helpers map[string]bool   `json:"helpers"`       // mount.nfs, mount.cifs, fusermount3
	Modules map[string]string `json:"modules"`       // nfs, nfsv4, cifs, fuse: "loaded", "loadable" or "absent"
	FUSE    bool              `json:"fuse"`          // /dev/fuse can be opened
	Flex    []string          `json:"flex"`          // FlexVolume drivers, vendor/name
	CSI     []string          `json:"csi"`           // registered drivers
	Own     []string          `json:"own,omitempty"` // those of them that the agent itself is
	Kernel  string            `json:"kernel"`        // its release
	// Unknown: the machine could not be looked at since the agent began, nor is anything known from before; the other fields say nothing but CSI.
	Unknown bool `json:"unknown,omitempty"`
}

// Result is how the check of one storage went.
type Result struct {
	OK      bool          `json:"ok"`
	Message string        `json:"message,omitempty"` // what the helper or the kernel said; without secrets
	Time    time.Time     `json:"time"`              // when the check ended
	Latency time.Duration `json:"latency"`           // nanoseconds
	Free    int64         `json:"free"`              // bytes; -1 when not known
	Size    int64         `json:"size"`              // bytes; -1 when not known
	Hung    bool          `json:"hung,omitempty"`    // the check did not end in time
	// WriteDenied: it is OK to read, and the worker's root may not write into its topmost directory, although nothing says that it is read-only.
	WriteDenied bool `json:"writeDenied,omitempty"`
	// Unchecked: whether the storage can be used could not be found out, for the reason that the message tells; OK says nothing.
	Unchecked bool   `json:"unchecked,omitempty"`
	Order     string `json:"order"` // resource version of the Secret of the order that was checked; a digest would let weak passwords be guessed
}
