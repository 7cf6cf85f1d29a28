package storagemanager

import (
	"context"
	"errors"
	"net/netip"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pai-storage/pai-storage/internal/fileserver"
	"github.com/pai-storage/pai-storage/internal/kube/fileaccess"
)

// followCluster tells the manager who may mount and who may log in, as the cluster says it. While the cluster's API is away, the last word stands.
func (o options) followCluster(ctx context.Context, m *manager) error {
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		return fileaccess.WatchNodes(ctx, client, m.log, func(nodes []fileaccess.Node) { m.setNodes(addresses(nodes)) })
	})
	both.Go(func() error {
		return fileaccess.WatchAccounts(ctx, client, m.log, func(accounts []fileaccess.Account) { m.setAccounts(userAccounts(accounts)) })
	})
	return both.Wait()
}

// addresses of nodes by which they reach others.
func addresses(nodes []fileaccess.Node) []netip.Addr {
	var list []netip.Addr
	for _, n := range nodes {
		list = append(list, n.Addresses...)
	}
	return list
}

// userAccounts are those who may log in, and those whom the cluster's rules refuse.
func userAccounts(accounts []fileaccess.Account) (list []UserAccount, refused []fileserver.Refused) {
	for _, a := range accounts {
		if a.Refused != "" {
			refused = append(refused, fileserver.Refused{Name: string(a.Name), Err: errors.New(a.Refused)})
			continue
		}
		list = append(list, UserAccount{Account: fileserver.Account{Name: string(a.Name), Hash: fileserver.Hash(a.NTHash)}, Admin: a.Admin})
	}
	return list, refused
}
