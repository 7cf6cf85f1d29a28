package pai

// Services is everything a front end may ask for.
type Services struct {
	Storages        StorageService
	Groups          GroupService
	Users           UserService
	Tokens          TokenService
	Jobs            JobService
	Audit           AuditService
	VirtualClusters VirtualClusterService
	Kubernetes      KubernetesService
	StorageAccounts StorageAccountService
	SignOn          SignOnService // nil: users have passwords here
}
