package doctor

import (
	"fmt"

	pai "github.com/pai-storage/pai-storage"
)

// nodeAgent brings the drivers of ours to every worker.
const nodeAgent = "paictl service start -n node-agent"

// ours says which drivers the node agent serves itself.
var ours = map[string]bool{"csi.pai.storage": true, "microsoft.com/smb": true, "azure/blobfuse": true}

// anew are URLs by which a storage can be declared anew, without the driver that is missing.
var anew = map[string]string{
	"nfs.csi.k8s.io":     "nfs://SERVER/PATH, which needs no driver",
	"smb.csi.k8s.io":     "smb://HOST/SHARE, which the node agent's driver mounts",
	"blob.csi.azure.com": "azblob://ACCOUNT/CONTAINER, which the node agent's driver mounts",
}

// driverFix says how a worker comes to a driver, or how the storage can do without.
func driverFix(name, node string) string {
	url, official := anew[name]
	switch {
	case ours[name]:
		return fmt.Sprintf("the node agent brings it: %s; where that runs, see why not on %s: paictl service logs -n node-agent", nodeAgent, node)
	case name == "file.csi.azure.com":
		return fmt.Sprintf("the node agent serves it where Azure's own driver is not: %s; or install the CSI driver %s", nodeAgent, name)
	case official:
		return fmt.Sprintf("install the CSI driver %s, or declare the storage anew: paictl storage add NAME %s", name, url)
	}
	return "install the driver " + name + ", or see why it does not run there: kubectl get csinode " + node
}

func noDriver(s Storage, node, name string) pai.Finding {
	return cannot(csiMissing, s, node, driverFix(name, node), "the CSI driver %s is not registered there", name)
}

func noFlexDriver(s Storage, node string) pai.Finding {
	fix := driverFix(s.Driver, node)
	if !ours[s.Driver] {
		fix = "install the driver on " + node + " in the kubelet's plugin directory"
	}
	return cannot(flexMissing, s, node, fix, "its kubelet has no driver %s", driver(s))
}
