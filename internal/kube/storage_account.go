package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/smbaccount"
)

func parseStorageAccount(obj any) (pai.StorageAccount, error) {
	s, err := secretOf(obj)
	if err != nil {
		return pai.StorageAccount{}, err
	}
	r, err := smbaccount.Parse(s.Name, s.Data)
	return pai.StorageAccount{User: pai.UserName(r.User), Set: r.Set, Admin: r.Admin}, err
}

// StorageAccount is a user's SMB account; without one, Set is zero.
func (c *Cluster) StorageAccount(user pai.UserName) pai.StorageAccount {
	account, ok := c.accounts.get(objectName(user))
	if !ok {
		return pai.StorageAccount{User: user}
	}
	return account
}

// StorageAccounts lists who has one.
func (c *Cluster) StorageAccounts() []pai.UserName {
	var users []pai.UserName
	for _, a := range c.accounts.all() {
		users = append(users, a.User)
	}
	return users
}

// SetStorageAccount writes an account with the hash of its password.
func (c *Cluster) SetStorageAccount(ctx context.Context, account pai.StorageAccount, hash string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	r := smbaccount.Record{User: string(account.User), Hash: hash, Set: account.Set, Admin: account.Admin}
	name := objectName(account.User)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: smbaccount.Namespace, Name: name}, Data: r.Data()}
	action := pai.AuditCreate
	written, err := c.createSecret(ctx, s)
	if apierrors.IsAlreadyExists(err) {
		action = pai.AuditChange
		written, err = c.changeSecret(ctx, smbaccount.Namespace, name, func(s *corev1.Secret) (bool, error) {
			s.Data = r.Data()
			return true, nil
		})
	}
	if err != nil {
		return fmt.Errorf("write the SMB account of %s: %w", account.User, err)
	}
	c.accounts.await(ctx, name, written.ResourceVersion)
	c.record(ctx, action, "storage-account", string(account.User), nil, map[string]any{"password": "set"})
	return nil
}

// RemoveStorageAccount deletes an account, if there is one.
func (c *Cluster) RemoveStorageAccount(ctx context.Context, user pai.UserName) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	removed, err := c.dropStorageAccount(ctx, user)
	if err == nil && removed {
		c.record(ctx, pai.AuditDelete, "storage-account", string(user), map[string]any{"password": "set"}, nil)
	}
	return err
}

func (c *Cluster) dropStorageAccount(ctx context.Context, user pai.UserName) (removed bool, err error) {
	name := objectName(user)
	secrets := c.client.CoreV1().Secrets(smbaccount.Namespace)
	s, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		err = secrets.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &s.UID}})
	}
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("delete the SMB account of %s: %w", user, err)
	}
	c.accounts.awaitGone(ctx, name, s.ResourceVersion)
	return true, nil
}

// accountKeeper has accounts follow their users: one whose user is gone goes, too, and one knows whether its user is an administrator. Several
// servers may do it at once.
type accountKeeper struct {
	cluster *Cluster
	wake    chan struct{}
}

func newAccountKeeper(c *Cluster) *accountKeeper {
	k := &accountKeeper{cluster: c, wake: make(chan struct{}, 1)}
	touch := func() {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
	c.users.notify = func(pai.User) { touch() }
	c.groups.notify = func(pai.Group) { touch() }
	c.accounts.notify = func(pai.StorageAccount) { touch() }
	return k
}

func (k *accountKeeper) run(ctx context.Context) {
	if k.cluster.WaitSynced(ctx) != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(keepPause):
		}
		if err := k.round(ctx); err != nil && ctx.Err() == nil {
			k.cluster.log.Warn("SMB accounts are not as they should be; trying again", "cause", err.Error())
			time.AfterFunc(keepRetry, func() {
				select {
				case k.wake <- struct{}{}:
				default:
				}
			})
		}
	}
}

func (k *accountKeeper) round(ctx context.Context) error {
	c := k.cluster
	var faults []error
	for _, account := range c.accounts.all() {
		user, ok := c.users.get(objectName(account.User))
		if !ok {
			// The caches may be of different times: the user is asked for once more, where it counts.
			_, err := c.client.CoreV1().Secrets(UserNamespace).Get(ctx, objectName(account.User), metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				_, err = c.dropStorageAccount(ctx, account.User)
			}
			faults = append(faults, err)
			continue
		}
		admin := c.administers(user)
		if admin == account.Admin {
			continue
		}
		_, err := c.changeSecret(ctx, smbaccount.Namespace, objectName(account.User), func(s *corev1.Secret) (bool, error) {
			s.Data["admin"] = fmt.Appendf(nil, "%t", admin)
			return true, nil
		})
		if !apierrors.IsNotFound(err) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// administers tells whether one of the user's groups makes an administrator.
func (c *Cluster) administers(u pai.User) bool {
	for _, name := range u.Groups {
		if g, ok := c.groups.get(objectName(name)); ok && g.ACLs().Admin {
			return true
		}
	}
	return false
}
