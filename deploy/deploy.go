// Package deploy holds the manifests that install PAI Storage into a Kubernetes cluster.
//
// They are embedded, so that a local cluster and production run the same YAML. Use it where something is applied to a cluster; its rules:
// what a part may do (RBAC) is in one file and the workload itself in another, because a part may also run outside of the cluster.
//
// Example:
//
//	apply(deploy.RestServerRBAC)
package deploy

import _ "embed"

// RestServerRBAC is the namespaces that the REST server works in, its service account, and what it may do there.
//
//go:embed rest-server/rbac.yaml
var RestServerRBAC []byte

// RestServerDeployment is the REST server's Deployment and Service.
//
//go:embed rest-server/deployment.yaml
var RestServerDeployment []byte

// StorageManager is the storage manager's DaemonSet.
//
//go:embed storage-manager/daemonset.yaml
var StorageManager []byte

// Admission is the optional policy that refuses pods in the jobs namespace which claim a storage without having come from the REST server.
//
//go:embed admission/policy.yaml
var Admission []byte

// StorageManagerRBAC is the storage manager's service account, and what it may do: follow the users' SMB accounts and the nodes' addresses.
//
//go:embed storage-manager/rbac.yaml
var StorageManagerRBAC []byte

// NodeAgentRBAC is the node agent's service account, the namespaces of orders and reports, and what it may do there.
//
//go:embed node-agent/rbac.yaml
var NodeAgentRBAC []byte

// NodeAgentPolicy keeps each node agent to its own node's labels and its own report.
//
//go:embed node-agent/policy.yaml
var NodeAgentPolicy []byte

// NodeAgent is the node agent's DaemonSet.
//
//go:embed node-agent/daemonset.yaml
var NodeAgent []byte

// NodeAgentCSIDriver makes the node agent's CSI driver known to Kubernetes.
//
//go:embed node-agent/csidriver.yaml
var NodeAgentCSIDriver []byte

// NodeAgentAzureFile makes the driver of azureFile volumes known, for clusters without the official one.
//
//go:embed node-agent/azurefile.yaml
var NodeAgentAzureFile []byte
