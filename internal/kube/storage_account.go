package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// storageAccount is what we keep of an account: not its hash.
type storageAccount struct {
	pai.StorageAccount
	created time.Time
}

// olderThan tells which of two accounts counts when their names are one to the SMB server. All servers see it the same way.
func (a storageAccount) olderThan(b storageAccount) bool {
	return a.created.Before(b.created) || (a.created.Equal(b.created) && a.User < b.User)
}

// slimStorageAccount keeps the hash out of the caches.
func slimStorageAccount(obj any) (any, error) {
	if s, ok := obj.(*corev1.Secret); ok {
		s.ManagedFields, s.Annotations = nil, nil
		delete(s.Data, specs.StorageAccountNTHash)
	}
	return obj, nil
}

func parseStorageAccount(obj any) (storageAccount, error) {
	s, err := secretOf(obj)
	if err != nil {
		return storageAccount{}, err
	}
	a, err := specs.ParseStorageAccount(s)
	return storageAccount{StorageAccount: a, created: s.CreationTimestamp.Time}, err
}

// isAdmin tells whether a user is an administrator, as the caches have it.
func (c *Cluster) isAdmin(u pai.User) bool { return pai.GrantsOf(c.GroupsOf(u)).Admin }

// StorageAccount tells whether a user has an account. See [pai.StorageAccountService] for the errors.
func (c *Cluster) StorageAccount(ctx context.Context, name pai.UserName) (pai.StorageAccount, error) {
	u, err := c.User(ctx, name)
	if err != nil {
		return pai.StorageAccount{}, err
	}
	a, _ := c.accounts.get(objectName(name))
	return pai.StorageAccount{User: name, Set: a.Set, Admin: c.isAdmin(u)}, nil
}

// SetStorageAccount gives a user an account with an NT hash, or the account another one. See [pai.StorageAccountService] for the errors.
func (c *Cluster) SetStorageAccount(ctx context.Context, name pai.UserName, nt pai.PasswordHash) (pai.StorageAccount, error) {
	u, err := c.User(ctx, name)
	if err != nil {
		return pai.StorageAccount{}, err
	}
	for _, other := range c.accounts.in(pai.StorageAccountKey(name)) {
		if other.User != name {
			return pai.StorageAccount{}, pai.StorageAccountTaken(name, other.User)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	account := pai.StorageAccount{User: name, Set: c.now().UTC().Truncate(time.Second), Admin: c.isAdmin(u)}
	before, written, err := c.writeStorageAccount(ctx, account, nt)
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		return pai.StorageAccount{}, pai.Errorf(pai.ConflictUserError, "The SMB password of user %s is being changed by others: try again.", name).Because(err)
	case err != nil:
		return pai.StorageAccount{}, fmt.Errorf("set the SMB password of %s: %w", name, err)
	}
	c.accounts.await(ctx, written.Name, written.ResourceVersion)
	c.recordStorageAccount(ctx, name, before.Set, account.Set)
	return account, nil
}

// writeStorageAccount changes the Secret of an account, and makes one for a user without. Before is the zero account then.
func (c *Cluster) writeStorageAccount(ctx context.Context, a pai.StorageAccount, nt pai.PasswordHash) (before storageAccount, written *corev1.Secret, err error) {
	fill := func(s *corev1.Secret) (bool, error) {
		before, _ = parseStorageAccount(s) // what cannot be read is as good as none
		specs.FillStorageAccount(s, a, nt)
		return true, nil
	}
	name := specs.StorageAccountName(a.User)
	written, err = c.changeSecret(ctx, StorageAccountNamespace, name, fill)
	if !apierrors.IsNotFound(err) {
		return before, written, err
	}
	fresh := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: StorageAccountNamespace, Name: name}}
	specs.FillStorageAccount(fresh, a, nt)
	written, err = c.createSecret(ctx, fresh)
	if apierrors.IsAlreadyExists(err) { // someone else was first
		written, err = c.changeSecret(ctx, StorageAccountNamespace, name, fill)
	}
	return before, written, err
}

// RemoveStoragePassword ends a user's account. See [pai.StorageAccountService] for the errors.
func (c *Cluster) RemoveStoragePassword(ctx context.Context, name pai.UserName) (bool, error) {
	if _, err := c.User(ctx, name); err != nil {
		return false, err
	}
	gone, err := c.removeStorageAccount(ctx, name)
	if gone != nil {
		before, _ := parseStorageAccount(gone)
		c.recordStorageAccount(ctx, name, before.Set, time.Time{})
	}
	return gone != nil, err
}

// removeStorageAccount deletes the account of a user, who need not exist any more, and returns what was there; nil for nothing.
func (c *Cluster) removeStorageAccount(ctx context.Context, name pai.UserName) (*corev1.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	secrets := c.client.CoreV1().Secrets(StorageAccountNamespace)
	var gone *corev1.Secret
	err := outlastConflicts(ctx, func() error {
		s, err := secrets.Get(ctx, specs.StorageAccountName(name), metav1.GetOptions{})
		if err != nil {
			return err
		}
		gone = s
		return secrets.Delete(ctx, s.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &s.UID}})
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("remove the SMB password of %s: %w", name, err)
	}
	c.accounts.awaitGone(ctx, gone.Name, gone.ResourceVersion)
	return gone, nil
}

// recordStorageAccount tells the audit trail that a password came, changed or went: when, and nothing else of it.
func (c *Cluster) recordStorageAccount(ctx context.Context, name pai.UserName, before, after time.Time) {
	state := func(at time.Time) any {
		if at.IsZero() {
			return nil
		}
		return map[string]any{"user": name, "set": at.Format(time.RFC3339)}
	}
	action := pai.AuditChange
	switch {
	case after.IsZero():
		action = pai.AuditDelete
	case before.IsZero():
		action = pai.AuditCreate
	}
	c.record(ctx, action, "storage-password", string(name), state(before), state(after))
}
