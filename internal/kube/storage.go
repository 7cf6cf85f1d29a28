package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
)

// claim is what we keep of a PersistentVolumeClaim.
type claim struct {
	name   pai.StorageName
	share  bool
	volume string
	bound  bool
	reason string
	expose bool // the administrator wants users to see credentials
}

// personalLabel on a claim, with the value "false", makes a storage personal.
const personalLabel = "share"

// exposeAnnotation on a claim, with the value "true", shows what looks like a credential in the volume's description.
const exposeAnnotation = "pai.storage/expose-credentials"

func parseClaim(obj any) (claim, error) {
	pvc, ok := obj.(*corev1.PersistentVolumeClaim)
	if !ok {
		return claim{}, fmt.Errorf("expected a PersistentVolumeClaim, got %T", obj)
	}
	c := claim{
		name:   pai.StorageName(pvc.Name),
		share:  pvc.Labels[personalLabel] != "false",
		volume: pvc.Spec.VolumeName,
		bound:  pvc.Status.Phase == corev1.ClaimBound,
		expose: pvc.Annotations[exposeAnnotation] == "true",
	}
	switch {
	case c.bound:
	case pvc.Status.Phase == corev1.ClaimLost:
		c.reason = fmt.Sprintf("its volume %s is gone", pvc.Spec.VolumeName)
	default:
		c.reason = "no volume is bound to its claim yet"
	}
	return c, nil
}

// storage puts a claim and its volume together.
func (c *Cluster) storage(cl claim) pai.Storage {
	s := pai.Storage{
		Name: cl.name, Share: cl.share, VolumeName: cl.volume, Bound: cl.bound, Reason: cl.reason,
		Type: pai.StorageUnknown, Data: map[string]string{},
	}
	v, ok := c.volumes.get(cl.volume)
	if cl.volume == "" || !ok {
		return s
	}
	s.Type, s.ReadOnly, s.SecretName = v.kind, v.readOnly, v.secretName
	s.Data, s.MountOptions = v.data, v.mountOptions
	if cl.expose {
		s.Data, s.MountOptions = v.openData, v.openOptions
	}
	return s
}

// Storages lists every storage, bound or not, sorted by name.
func (c *Cluster) Storages(context.Context) ([]pai.Storage, error) {
	claims := c.claims.all()
	out := make([]pai.Storage, 0, len(claims))
	for _, cl := range claims {
		out = append(out, c.storage(cl))
	}
	return out, nil
}

// Storage finds one, bound or not. NoStorageError.
func (c *Cluster) Storage(_ context.Context, name pai.StorageName) (pai.Storage, error) {
	cl, ok := c.claims.get(string(name))
	if !ok {
		return pai.Storage{}, pai.NoStorage(name)
	}
	return c.storage(cl), nil
}

// freshStorage finds a storage that may have been made a moment ago, before the caches saw it. NoStorageError.
func (c *Cluster) freshStorage(ctx context.Context, name pai.StorageName) (pai.Storage, error) {
	st, err := c.Storage(ctx, name)
	if err == nil {
		return st, nil
	}
	if _, bad := pai.ParseStorageName(string(name)); bad != nil {
		return st, err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	found, missing := c.client.CoreV1().PersistentVolumeClaims(c.namespace).Get(ctx, string(name), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(missing):
		return st, err
	case missing != nil:
		return st, fmt.Errorf("look for the claim %s: %w", name, missing)
	}
	c.claims.await(ctx, found.Name, found.ResourceVersion)
	return c.Storage(ctx, name)
}
