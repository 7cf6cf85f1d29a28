package auth

import (
	"context"

	pai "github.com/pai-storage/pai-storage"
)

// Guard wraps services so that each call is checked against who is calling, as [pai.CallerFrom] says.
func Guard(next pai.Services, accounts *Accounts) pai.Services {
	g := &guard{next: next, accounts: accounts}
	services := pai.Services{Storages: g, Groups: g, Users: g, Tokens: g, Jobs: g, Audit: g, VirtualClusters: g, Kubernetes: g, Readiness: g, StorageAccounts: g}
	if next.SignOn != nil {
		services.SignOn = next.SignOn // for guests
	}
	return services
}

type guard struct {
	next     pai.Services
	accounts *Accounts
}

// person is the caller if that is somebody who signed in with a password.
func person(ctx context.Context) (pai.Caller, error) {
	if err := pai.Person.Check(ctx); err != nil {
		return pai.Caller{}, err
	}
	return pai.CallerFrom(ctx)
}
