package pai

// Services is everything a front end may ask for.
type Services struct {
	Storages        StorageService
	Groups          GroupService
	Users           UserService
	Tokens          TokenService
	StorageAccounts StorageAccountService
	Jobs            JobService
	Audit           AuditService
	VirtualClusters VirtualClusterService
	Kubernetes      KubernetesService
	Readiness       ReadinessService
	SignOn          SignOnService // nil: users have passwords here
}
