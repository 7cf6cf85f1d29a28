package kube

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
)

// tokenList is the valid tokens of one user, with the ids that they are listed under.
type tokenList map[string]string

func parseTokens(obj any) (tokenList, error) {
	s, err := secretOf(obj)
	if err != nil {
		return nil, err
	}
	list := tokenList{}
	for id, token := range s.Data {
		list[string(token)] = id
	}
	return list, nil
}

// TokenListed tells whether a token is among the user's valid ones.
func (c *Cluster) TokenListed(user pai.UserName, token string) bool {
	list, _ := c.tokens.get(objectName(user))
	_, listed := list[token]
	return listed
}

// Tokens returns the tokens that are listed for a user, each with its id.
func (c *Cluster) Tokens(user pai.UserName) map[string]string {
	list, _ := c.tokens.get(objectName(user))
	return maps.Clone(list)
}

// AddToken lists a token for its user. Admit sees those listed before and picks the ones to take off, or refuses the new one.
func (c *Cluster) AddToken(ctx context.Context, user pai.UserName, token string, admit func(listed []string) (drop []string, err error)) error {
	_, err := c.addToken(ctx, user, token, admit)
	return err
}

// AddApplicationToken is [Cluster.AddToken] for a token that stays, so the audit trail is told.
func (c *Cluster) AddApplicationToken(ctx context.Context, user pai.UserName, token string, admit func(listed []string) (drop []string, err error)) error {
	id, err := c.addToken(ctx, user, token, admit)
	if err == nil {
		c.record(ctx, pai.AuditCreate, "token", tokenRecordName(user, id), nil, map[string]any{"user": user, "application": true})
	}
	return err
}

// tokenRecordName is what the audit trail calls a token.
func tokenRecordName(user pai.UserName, id string) string { return string(user) + "/" + id }

func (c *Cluster) addToken(ctx context.Context, user pai.UserName, token string, admit func([]string) ([]string, error)) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	id = newID()
	written, err := c.changeTokens(ctx, user, func(s *corev1.Secret) (bool, error) {
		listed := make([]string, 0, len(s.Data))
		for _, old := range s.Data {
			listed = append(listed, string(old))
		}
		drop, err := admit(listed)
		if err != nil {
			return false, err
		}
		maps.DeleteFunc(s.Data, func(_ string, old []byte) bool { return slices.Contains(drop, string(old)) })
		s.Data[id] = []byte(token)
		return true, nil
	})
	if err != nil {
		return "", fmt.Errorf("add a token of %s: %w", user, err)
	}
	c.tokens.await(ctx, written.Name, written.ResourceVersion)
	return id, nil
}

// changeTokens changes the token list of a user, and makes one for a user without.
func (c *Cluster) changeTokens(ctx context.Context, user pai.UserName, change func(*corev1.Secret) (bool, error)) (*corev1.Secret, error) {
	name := objectName(user)
	written, err := c.changeSecret(ctx, TokenNamespace, name, change)
	if !apierrors.IsNotFound(err) {
		return written, err
	}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: TokenNamespace, Name: name}, Data: map[string][]byte{}}
	if _, err := change(s); err != nil {
		return nil, err
	}
	written, err = c.createSecret(ctx, s)
	if apierrors.IsAlreadyExists(err) { // someone else was first
		return c.changeSecret(ctx, TokenNamespace, name, change)
	}
	return written, err
}

// RemoveToken takes a token off its user's list. It is no error when it is not there.
func (c *Cluster) RemoveToken(ctx context.Context, user pai.UserName, token string) error {
	_, err := c.removeTokens(ctx, user, func(_, listed string) bool { return listed == token })
	return err
}

// RevokeTokens takes those tokens off a user's list that pick names, tells the audit trail, and returns the ids of them.
func (c *Cluster) RevokeTokens(ctx context.Context, user pai.UserName, pick func(id, token string) bool) ([]string, error) {
	removed, err := c.removeTokens(ctx, user, pick)
	for _, id := range removed {
		c.record(ctx, pai.AuditDelete, "token", tokenRecordName(user, id), map[string]any{"user": user}, nil)
	}
	return removed, err
}

func (c *Cluster) removeTokens(ctx context.Context, user pai.UserName, pick func(id, token string) bool) (removed []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	written, err := c.changeSecret(ctx, TokenNamespace, objectName(user), func(s *corev1.Secret) (bool, error) {
		removed = nil
		for id, listed := range s.Data {
			if pick(id, string(listed)) {
				delete(s.Data, id)
				removed = append(removed, id)
			}
		}
		return len(removed) > 0, nil
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("remove tokens of %s: %w", user, err)
	}
	c.tokens.await(ctx, written.Name, written.ResourceVersion)
	slices.Sort(removed)
	return removed, nil
}

// removeAllTokens removes a user's whole list.
func (c *Cluster) removeAllTokens(ctx context.Context, user pai.UserName) error {
	secrets := c.client.CoreV1().Secrets(TokenNamespace)
	s, err := secrets.Get(ctx, objectName(user), metav1.GetOptions{})
	if err == nil {
		err = secrets.Delete(ctx, s.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &s.UID}})
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("remove the tokens of %s: %w", user, err)
	}
	c.tokens.awaitGone(ctx, s.Name, s.ResourceVersion)
	return nil
}

// signingKeyField is the key of the Secret that holds the signing key.
const signingKeyField = "key"

// SigningKey returns the key that tokens are signed with: the one in the named Secret, which the first of all replicas makes.
func (c *Cluster) SigningKey(ctx context.Context, namespace, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	secrets := c.client.CoreV1().Secrets(namespace)
	s, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		key := make([]byte, 64)
		rand.Read(key)
		s, err = c.createSecret(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Data:       map[string][]byte{signingKeyField: key},
		})
		if apierrors.IsAlreadyExists(err) { // another replica was first: its key counts
			s, err = secrets.Get(ctx, name, metav1.GetOptions{})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the signing key %s/%s: %w", namespace, name, err)
	}
	key := s.Data[signingKeyField]
	if len(key) == 0 {
		return nil, fmt.Errorf("secret %s/%s: the value of %q is missing; delete the Secret to get a new key", namespace, name, signingKeyField)
	}
	return key, nil
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// EnsureNamespaces makes the namespaces that hold the state, as far as they are missing and making them is allowed.
func (c *Cluster) EnsureNamespaces(ctx context.Context, names ...string) error {
	for _, name := range names {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, err := c.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		switch {
		case err == nil, apierrors.IsAlreadyExists(err):
		case apierrors.IsForbidden(err): // then whoever installed us made them
			c.log.Debug("not allowed to make namespaces", "namespace", name)
		default:
			return fmt.Errorf("create namespace %s: %w", name, err)
		}
	}
	return nil
}
