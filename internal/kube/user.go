package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
)

func parseUser(obj any) (pai.User, error) {
	s, err := secretOf(obj)
	if err != nil {
		return pai.User{}, err
	}
	u := pai.User{
		Name:     pai.UserName(s.Data["username"]),
		Email:    string(s.Data["email"]),
		Password: pai.PasswordHash(s.Data["password"]),
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

func userSecret(u pai.User) (*corev1.Secret, error) {
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
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: UserNamespace, Name: objectName(u.Name)},
		Data: map[string][]byte{
			"username":  []byte(u.Name),
			"email":     []byte(u.Email),
			"password":  []byte(u.Password),
			"grouplist": groups,
			"extension": extension,
		},
	}, nil
}

// User finds one. NoUserError.
func (c *Cluster) User(_ context.Context, name pai.UserName) (pai.User, error) {
	u, ok := c.users.get(objectName(name))
	if !ok {
		return pai.User{}, pai.Errorf(pai.NoUserError, "User %s is not found.", name)
	}
	return u, nil
}

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

// CreateUser adds a user. ConflictUserError.
func (c *Cluster) CreateUser(ctx context.Context, u pai.User) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	s, err := userSecret(u)
	if err != nil {
		return fmt.Errorf("create user %s: %w", u.Name, err)
	}
	written, err := c.createSecret(ctx, s)
	if apierrors.IsAlreadyExists(err) {
		return pai.Errorf(pai.ConflictUserError, "User name %s already exists.", u.Name).Because(err)
	}
	if err != nil {
		return fmt.Errorf("create user %s: %w", u.Name, err)
	}
	c.users.await(ctx, written.Name, written.ResourceVersion)
	c.record(ctx, pai.AuditCreate, "user", string(u.Name), nil, map[string]any{"email": u.Email, "grouplist": u.Groups})
	return nil
}

// SetPassword replaces a user's password hash if it still is the one that the caller verified.
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
