package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
)

// identityAnnotation says who a user is at the identity provider. The original does not look at it.
const identityAnnotation = "pai.storage/identity"

func parseUser(obj any) (pai.User, error) {
	s, err := secretOf(obj)
	if err != nil {
		return pai.User{}, err
	}
	u := pai.User{
		Name:     pai.UserName(s.Data["username"]),
		Email:    string(s.Data["email"]),
		Password: pai.PasswordHash(s.Data["password"]),
		Identity: s.Annotations[identityAnnotation],
		Version:  s.ResourceVersion,
	}
	if objectName(u.Name) != s.Name {
		return u, fmt.Errorf("username %q does not belong to this Secret", u.Name)
	}
	if err := decode(s.Data["grouplist"], &u.Groups); err != nil {
		return u, fmt.Errorf("grouplist: %w", err)
	}
	if err := decode(s.Data["extension"], &u.Extension); err != nil {
		return u, fmt.Errorf("extension: %w", err)
	}
	return u, nil
}

// userData is the reverse of parseUser.
func userData(u pai.User) (map[string][]byte, error) {
	if u.Groups == nil {
		u.Groups = []pai.GroupName{}
	}
	if u.Extension == nil {
		u.Extension = map[string]any{}
	}
	groups, err := encode(u.Groups)
	if err != nil {
		return nil, err
	}
	extension, err := encode(u.Extension)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"username":  []byte(u.Name),
		"email":     []byte(u.Email),
		"password":  []byte(u.Password),
		"grouplist": groups,
		"extension": extension,
	}, nil
}

// User finds one. NoUserError.
func (c *Cluster) User(_ context.Context, name pai.UserName) (pai.User, error) {
	u, ok := c.users.get(objectName(name))
	if !ok {
		return pai.User{}, pai.NoUser(name)
	}
	return u, nil
}

// Users lists every user, sorted by name.
func (c *Cluster) Users() []pai.User { return c.users.all() }

// GroupsOf returns the groups of a user that exist, in the user's order.
func (c *Cluster) GroupsOf(u pai.User) []pai.Group {
	var out []pai.Group
	for _, name := range u.Groups {
		if g, ok := c.groups.get(objectName(name)); ok {
			out = append(out, g)
		}
	}
	return out
}

// CreateUser adds a user. ConflictUserError. Tokens and an SMB account that somebody of that name left behind are removed first.
func (c *Cluster) CreateUser(ctx context.Context, u pai.User) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	data, err := userData(u)
	if err != nil {
		return fmt.Errorf("create user %s: %w", u.Name, err)
	}
	if err := errors.Join(c.dropOrphanTokens(ctx, u.Name), c.dropOrphanAccount(ctx, u.Name)); err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: UserNamespace, Name: objectName(u.Name)}, Data: data}
	setIdentity(secret, u.Identity)
	written, err := c.createSecret(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		return pai.Errorf(pai.ConflictUserError, "User name %s already exists.", u.Name).Because(err)
	}
	if err != nil {
		return fmt.Errorf("create user %s: %w", u.Name, err)
	}
	c.users.await(ctx, written.Name, written.ResourceVersion)
	c.record(ctx, pai.AuditCreate, "user", string(u.Name), nil, userRecord(u))
	return nil
}

// dropOrphanTokens removes the tokens of a name that nobody has. They would be valid again for whoever gets the name.
func (c *Cluster) dropOrphanTokens(ctx context.Context, name pai.UserName) error {
	if list, _ := c.tokens.get(objectName(name)); len(list) == 0 {
		return nil
	}
	_, err := c.client.CoreV1().Secrets(UserNamespace).Get(ctx, objectName(name), metav1.GetOptions{})
	switch {
	case err == nil: // the caches have not seen this user yet: creating will fail
		return nil
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("create user %s: %w", name, err)
	}
	return c.removeAllTokens(ctx, name)
}

// ChangeUser changes a user as it is at that moment; change is asked again when someone else wrote in between, and its errors end it. With a
// version it does so while that is the current one only: OutdatedVersionError. NoUserError, ConflictUserError when others kept changing the
// user. A change that changes nothing is not written.
func (c *Cluster) ChangeUser(ctx context.Context, name pai.UserName, version string, change func(pai.User) (pai.User, error)) (pai.User, error) {
	if _, err := pai.ParseUserName(string(name)); err != nil {
		return pai.User{}, pai.NoUser(name)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var before pai.User
	written, err := c.changeSecret(ctx, UserNamespace, objectName(name), func(s *corev1.Secret) (worth bool, err error) {
		if before, err = parseUser(s); err != nil {
			return false, err
		}
		if version != "" && version != s.ResourceVersion {
			return false, pai.Errorf(pai.OutdatedVersionError, "User %s has changed since: read it again.", name)
		}
		after, err := change(before)
		if err != nil {
			return false, err
		}
		return replaceUserData(s, before, after)
	})
	switch {
	case apierrors.IsNotFound(err):
		return pai.User{}, pai.NoUser(name).Because(err)
	case apierrors.IsConflict(err):
		return pai.User{}, pai.Errorf(pai.ConflictUserError, "User %s is being changed by others: try again.", name).Because(err)
	case pai.CodeOf(err) != pai.UnknownError && err != nil:
		return pai.User{}, err
	case err != nil:
		return pai.User{}, fmt.Errorf("change user %s: %w", name, err)
	}
	c.users.await(ctx, written.Name, written.ResourceVersion)
	after, err := parseUser(written)
	if err == nil && after.Version != before.Version {
		c.recordUserChange(ctx, before, after)
	}
	return after, err
}

// replaceUserData writes what differs into the Secret, and tells whether anything does. The rest stays as it is, to the letter.
func replaceUserData(s *corev1.Secret, before, after pai.User) (differs bool, err error) {
	was, err := userData(before)
	if err != nil {
		return false, err
	}
	is, err := userData(after)
	if err != nil {
		return false, err
	}
	for key, value := range is {
		if !bytes.Equal(was[key], value) {
			s.Data[key], differs = value, true
		}
	}
	if before.Identity != after.Identity {
		setIdentity(s, after.Identity)
		differs = true
	}
	return differs, nil
}

func setIdentity(s *corev1.Secret, identity string) {
	if identity == "" {
		delete(s.Annotations, identityAnnotation)
		return
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[identityAnnotation] = identity
}

// SetPassword replaces a user's password hash if it still is the one that the caller verified. The password itself stays, so the audit
// trail is not told.
func (c *Cluster) SetPassword(ctx context.Context, name pai.UserName, from, to pai.PasswordHash) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	written, err := c.changeSecret(ctx, UserNamespace, objectName(name), func(s *corev1.Secret) (bool, error) {
		if string(s.Data["password"]) != string(from) {
			return false, nil
		}
		s.Data["password"] = []byte(to)
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("set the password of %s: %w", name, err)
	}
	c.users.await(ctx, written.Name, written.ResourceVersion)
	return nil
}

// DeleteUser removes a user, and then the user's tokens and SMB account. NoUserError; allow is asked about the user as it is at that moment, again when
// someone else wrote in between, and its error ends it.
func (c *Cluster) DeleteUser(ctx context.Context, name pai.UserName, allow func(pai.User) error) error {
	if _, err := pai.ParseUserName(string(name)); err != nil {
		return pai.NoUser(name)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var gone pai.User
	secrets := c.client.CoreV1().Secrets(UserNamespace)
	err := outlastConflicts(ctx, func() error {
		s, err := secrets.Get(ctx, objectName(name), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if gone, err = parseUser(s); err != nil {
			return err
		}
		if err := allow(gone); err != nil {
			return err
		}
		return secrets.Delete(ctx, s.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion}})
	})
	var known *pai.Error
	switch {
	case apierrors.IsNotFound(err):
		return pai.NoUser(name).Because(err)
	case errors.As(err, &known):
		return err
	case err != nil:
		return fmt.Errorf("delete user %s: %w", name, err)
	}
	c.users.awaitGone(ctx, objectName(name), gone.Version)
	c.record(ctx, pai.AuditDelete, "user", string(name), userRecord(gone), nil)
	_, err = c.removeStorageAccount(ctx, name)
	return errors.Join(c.removeAllTokens(ctx, name), err)
}

// userRecord is what the audit trail says of a user: of the extension only which keys it has, because users keep secrets there.
func userRecord(u pai.User) map[string]any {
	keys := map[string]any{}
	for key := range u.Extension {
		keys[key] = "set"
	}
	return map[string]any{"email": u.Email, "grouplist": u.Groups, "extension": keys}
}

// recordUserChange says which keys of the extension and whether the password changed, without their values.
func (c *Cluster) recordUserChange(ctx context.Context, before, after pai.User) {
	was, is := userRecord(before), userRecord(after)
	if before.Identity != after.Identity {
		was["identity"], is["identity"] = before.Identity, after.Identity
	}
	if before.Password != after.Password {
		was["password"], is["password"] = "old", "new"
	}
	keys := maps.Clone(is["extension"].(map[string]any))
	for key := range keys {
		old, err1 := encode(before.Extension[key])
		now, err2 := encode(after.Extension[key])
		if err1 == nil && err2 == nil && !bytes.Equal(old, now) {
			keys[key] = "changed"
		}
	}
	is["extension"] = keys
	c.record(ctx, pai.AuditChange, "user", string(after.Name), was, is)
}
