package storagemanager

import (
	"context"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pai-storage/pai-storage/internal/fileserver"
	"github.com/pai-storage/pai-storage/internal/smbaccount"
)

// collectPause collects changes of the cluster: nodes come in crowds.
const collectPause = 500 * time.Millisecond

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
	return m.followClient(ctx, client)
}

func (m *manager) followClient(ctx context.Context, client kubernetes.Interface) error {
	changed := make(chan struct{}, 1)
	touch := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: func(any) { touch() }, UpdateFunc: func(any, any) { touch() }, DeleteFunc: func(any) { touch() }}
	nodes := informers.NewSharedInformerFactory(client, 0).Core().V1().Nodes().Informer()
	secrets := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(smbaccount.Namespace)).Core().V1().Secrets().Informer()
	for _, informer := range []cache.SharedIndexInformer{nodes, secrets} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
		go informer.RunWithContext(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		// An empty cache before the first list would say that nobody may do anything.
		if nodes.HasSynced() {
			m.setNodes(addresses(nodes.GetStore().List()))
		}
		if secrets.HasSynced() {
			m.setAccounts(m.accountsIn(secrets.GetStore().List()))
		}
		if !nodes.HasSynced() || !secrets.HasSynced() {
			touch()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(collectPause):
		}
	}
}

// addresses of nodes by which they reach others.
func addresses(nodes []any) []netip.Addr {
	var list []netip.Addr
	for _, x := range nodes {
		node, ok := x.(*corev1.Node)
		if !ok {
			continue
		}
		for _, a := range node.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); err == nil && (a.Type == corev1.NodeInternalIP || a.Type == corev1.NodeExternalIP) {
				list = append(list, ip.Unmap())
			}
		}
	}
	return list
}

// accountsIn reads the records. One that is damaged is nobody's account.
func (m *manager) accountsIn(secrets []any) []UserAccount {
	var list []UserAccount
	for _, x := range secrets {
		s, ok := x.(*corev1.Secret)
		if !ok {
			continue
		}
		r, err := smbaccount.Parse(s.Name, s.Data)
		if err != nil {
			m.log.Warn("an SMB account's record cannot be read", "record", s.Name, "cause", err.Error())
			continue
		}
		list = append(list, UserAccount{Account: fileserver.Account{Name: r.User, Hash: fileserver.Hash(r.Hash)}, Admin: r.Admin})
	}
	return list
}
