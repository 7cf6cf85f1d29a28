package doctor

import (
	"cmp"
	"fmt"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// nodeAgent brings the drivers of ours to every worker.
const nodeAgent = "paictl service start -n node-agent"

// ours says which drivers the node agent serves itself.
var ours = map[string]bool{"csi.pai.storage": true, "microsoft.com/smb": true, "azure/blobfuse": true}

// anew is the URL by which a storage can be declared anew, without the driver that is missing; "" when there is none.
func anew(s Storage, driver string) string {
	place := s.Server + "/" + strings.TrimPrefix(s.Export, "/")
	switch driver {
	case "nfs.csi.k8s.io":
		return "nfs://" + cmp.Or(strings.TrimPrefix(place, "/"), "SERVER/PATH") + ", which needs no driver"
	case "smb.csi.k8s.io":
		return "smb://" + cmp.Or(strings.TrimPrefix(place, "/"), "HOST/SHARE") + ", which the node agent's driver mounts"
	case "blob.csi.azure.com":
		return "azblob://ACCOUNT/CONTAINER, which the node agent's driver mounts"
	}
	return ""
}

// driverFix says how a worker comes to a driver, or how the storage can do without.
func driverFix(s Storage, name, node string) string {
	url := anew(s, name)
	switch {
	case ours[name]:
		return fmt.Sprintf("the node agent brings it: %s; where that runs, see why not on %s: paictl service logs -n node-agent", nodeAgent, node)
	case name == "file.csi.azure.com":
		return fmt.Sprintf("the node agent serves it where Azure's own driver is not: %s; or install the CSI driver %s", nodeAgent, name)
	case url != "":
		return fmt.Sprintf("install the CSI driver %s, or declare the storage anew: paictl storage remove %s; paictl storage add %s %s", name, s.Name, s.Name, url)
	}
	return "install the driver " + name + ", or see why it does not run there: kubectl get csinode " + node
}

func noDriver(s Storage, node, name string) pai.Finding {
	return cannot(csiMissing, s, node, driverFix(s, name, node), "the CSI driver %s is not registered there", name)
}

func noFlexDriver(s Storage, node string) pai.Finding {
	fix := driverFix(s, s.Driver, node)
	if !ours[s.Driver] {
		fix = "install the driver on " + node + " in the kubelet's plugin directory"
	}
	return cannot(flexMissing, s, node, fix, "its kubelet has no driver %s", driver(s))
}
