package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// A storage is declared in three steps: its volume, reserved for the claim; the Secret, which belongs to the volume and goes with it; and
// last the claim. Only with the claim is there a storage. A volume that was declared and has no claim is half of one, and whatever ended
// the declaration, the next sweep of any server undoes it.

// DeclareStorage makes the objects of a storage, or none of them. See [pai.StorageService] for the errors.
func (c *Cluster) DeclareStorage(ctx context.Context, d pai.StorageDeclaration) (pai.DeclaredStorage, error) {
	d, err := d.Normalize()
	if err != nil {
		return pai.DeclaredStorage{}, err
	}
	if _, taken := c.claims.get(string(d.Name)); taken {
		return pai.DeclaredStorage{}, nameTaken("storage", string(d.Name), nil)
	}
	objects, err := c.declaredObjects(d, newID())
	if err != nil {
		return pai.DeclaredStorage{}, fmt.Errorf("declare storage %s: %w", d.Name, err)
	}
	out := pai.DeclaredStorage{Name: d.Name, VolumeName: objects.volume.Name}
	if objects.secret != nil {
		out.SecretName = objects.secret.Name
	}
	if out.Manifest, err = objects.manifest(); err != nil || d.DryRun {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := c.create(ctx, objects); err != nil {
		return pai.DeclaredStorage{}, err
	}
	c.record(ctx, pai.AuditCreate, "storage", string(d.Name), nil, declarationRecord(d))
	return out, nil
}

// declarationRecord is what the audit trail says of a declaration.
func declarationRecord(d pai.StorageDeclaration) map[string]any {
	record := map[string]any{"type": d.Type, "size": d.Size, "personal": d.Personal, "readOnly": d.ReadOnly}
	for key, value := range d.Fields() {
		record[key] = value
	}
	if d.SecretName != "" {
		record["secretName"] = d.SecretName
	}
	if len(d.Secret) > 0 {
		record["secret"] = "new"
	}
	return record
}

// storageObjects is what a storage consists of.
type storageObjects struct {
	volume *corev1.PersistentVolume
	secret *corev1.Secret // nil when it has none of its own
	claim  *corev1.PersistentVolumeClaim
}

func (c *Cluster) declaredObjects(d pai.StorageDeclaration, declaration string) (o storageObjects, err error) {
	d.Nodes = c.hostsOf(d.Nodes)
	if o.volume, err = specs.Volume(c.namespace, declaration, d); err != nil {
		return o, err
	}
	if len(d.Secret) > 0 {
		o.secret = specs.StorageSecret(c.namespace, declaration, d, "")
	}
	o.claim, err = specs.Claim(c.namespace, declaration, d)
	return o, err
}

// manifest is the objects in YAML, without what is secret.
func (o storageObjects) manifest() (string, error) {
	objects := []any{o.volume, o.claim}
	if o.secret != nil {
		shown := o.secret.DeepCopy()
		shown.Data, shown.StringData, shown.OwnerReferences = nil, map[string]string{}, nil
		for key := range o.secret.Data {
			shown.StringData[key] = withheld
		}
		objects = append([]any{shown}, objects...)
	}
	var text string
	for i, object := range objects {
		part, err := yaml.Marshal(object)
		if err != nil {
			return "", fmt.Errorf("manifest: %w", err)
		}
		if i > 0 {
			text += "---\n"
		}
		text += string(part)
	}
	return text, nil
}

// create makes the objects one after the other, and deletes those that it made when one cannot be. A claim that Kubernetes made without
// being able to say so counts.
func (c *Cluster) create(ctx context.Context, o storageObjects) (err error) {
	name := o.claim.Name
	volume, err := c.client.CoreV1().PersistentVolumes().Create(ctx, o.volume, metav1.CreateOptions{})
	if err != nil {
		return createError("volume", o.volume.Name, name, err)
	}
	defer func() {
		if err == nil {
			return
		}
		finished, failure := c.undoDeclaration(ctx, declaredVolume{volume.Name, volume.UID, name, o.claim.Labels[specs.DeclarationLabel]})
		if err = errors.Join(err, failure); finished {
			err = nil
		}
	}()
	if o.secret != nil {
		o.secret.OwnerReferences[0].UID = volume.UID
		if _, err := c.createSecret(ctx, o.secret); err != nil {
			return createError("Secret", o.secret.Name, name, err)
		}
	}
	claim, err := c.client.CoreV1().PersistentVolumeClaims(c.namespace).Create(ctx, o.claim, metav1.CreateOptions{})
	if err != nil {
		return createError("storage", name, name, err)
	}
	c.volumes.await(ctx, volume.Name, volume.ResourceVersion)
	c.claims.await(ctx, claim.Name, claim.ResourceVersion)
	return nil
}

func createError(what, object, storage string, err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nameTaken(what, object, err)
	}
	return fmt.Errorf("declare storage %s: create %s %s: %w", storage, what, object, err)
}

func nameTaken(what, name string, cause error) *pai.Error {
	return pai.Errorf(pai.ConflictStorageError, "There is a %s %s already.", what, name).Because(cause)
}

// declaredVolume is a volume that may be half of a storage.
type declaredVolume struct {
	name        string
	uid         types.UID
	claim       string
	declaration string
}

// undoDeclaration deletes a volume that was declared and has no claim, and its Secret. It asks Kubernetes for the claim, because the caches
// may be late, and when there is one, the declaration is finished. It goes on when the caller has gone.
func (c *Cluster) undoDeclaration(ctx context.Context, v declaredVolume) (finished bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	claim, err := c.client.CoreV1().PersistentVolumeClaims(c.namespace).Get(ctx, v.claim, metav1.GetOptions{})
	switch {
	case err == nil && claim.Labels[specs.DeclarationLabel] == v.declaration:
		return true, nil
	case err != nil && !apierrors.IsNotFound(err):
		return false, fmt.Errorf("read claim %s: %w", v.claim, err)
	}
	return false, c.deleteVolume(ctx, v.name, v.uid)
}

// deleteVolume deletes a volume; Kubernetes deletes the Secret that belongs to it.
func (c *Cluster) deleteVolume(ctx context.Context, name string, uid types.UID) error {
	background := metav1.DeletePropagationBackground
	err := c.client.CoreV1().PersistentVolumes().Delete(ctx, name,
		metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete volume %s: %w", name, err)
	}
	return nil
}

// Times of the sweep.
const (
	sweepInterval = 20 * time.Second
	sweepGrace    = 3 * writeTimeout // a declaration that is older is not under way any more
)

// Sweep undoes storages that were declared half-way, until ctx ends. Several servers may sweep at once.
func (c *Cluster) Sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		c.sweep(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// sweep undoes what is there now, and lets go of storages that were removed while jobs mounted them.
func (c *Cluster) sweep(ctx context.Context) {
	for _, cl := range c.claims.all() {
		if cl.state != terminating || cl.declaration == "" {
			continue
		}
		if _, err := c.release(ctx, cl); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "storage that was removed is not let go of", "storage", cl.name, "cause", err.Error())
		}
	}
	for _, v := range c.volumes.all() {
		if !c.halfDeclared(v) {
			continue
		}
		if err := c.undoHalf(ctx, v); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "storage that was declared half-way is not undone", "volume", v.name, "cause", err.Error())
		}
	}
}

// halfDeclared tells whether a volume was declared and never got its claim. One that lost its claim later is Released.
func (c *Cluster) halfDeclared(v volume) bool {
	if v.declaration == "" || v.owner == nil || v.owner.Namespace != c.namespace || v.owner.UID != "" || c.now().Sub(v.created) < sweepGrace {
		return false
	}
	cl, exists := c.claims.get(v.owner.Name)
	return !exists || cl.declaration != v.declaration
}

func (c *Cluster) undoHalf(ctx context.Context, v volume) error {
	finished, err := c.undoDeclaration(ctx, declaredVolume{v.name, v.uid, v.owner.Name, v.declaration})
	if err == nil && !finished {
		c.record(ctx, pai.AuditDelete, "storage", v.owner.Name, map[string]any{"declared": "half-way"}, nil)
	}
	return err
}
