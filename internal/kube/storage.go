package kube

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// claim is what we keep of a PersistentVolumeClaim.
type claim struct {
	name   pai.StorageName
	uid    types.UID
	share  bool
	misled string // the value of the label share, quoted, when it is neither "true" nor "false"
	volume string
	bound  bool
	expose bool // the administrator wants users to see credentials

	created     time.Time
	state       string // the phase, or Terminating
	declaration string // set when it was declared through the API
	labels      map[string]string
	wants       wanted
	size        resource.Quantity // of the bound volume, else what is asked for
}

// wanted is what a claim asks of a volume.
type wanted struct {
	selector labels.Selector
	class    string
	size     resource.Quantity
	modes    []corev1.PersistentVolumeAccessMode
	device   bool // a raw device, not a file system
}

// personalLabel on a claim says whether everybody shares the storage: "true", as without the label, or "false" for a personal one. Whoever
// wrote anything else most likely wants a personal one, so that nobody gets to see the storage until the label is mended.
const personalLabel = "share"

// exposeAnnotation on a claim, with the value "true", shows what looks like a credential in the volume's description.
const exposeAnnotation = "pai.storage/expose-credentials"

// terminating is the state of a claim that is gone as soon as nobody mounts it any more.
const terminating = "Terminating"

// readClaim is parseClaim, and has the log say which storages nobody may use because of what their claims say.
func (c *Cluster) readClaim(obj any) (claim, error) {
	cl, err := parseClaim(obj)
	if fault := c.refusal(cl); err == nil && fault.Kind != "" {
		c.log.Warn("storage is not usable, and jobs with it are refused", "storage", cl.name, "code", fault.Code(), "cause", fault.Text, "fix", fault.Fix)
	}
	return cl, err
}

// shareOf reads the label share.
func shareOf(labels map[string]string) (share bool, misled string) {
	switch value, ok := labels[personalLabel]; {
	case !ok, value == "true":
		return true, ""
	case value == "false":
		return false, ""
	default:
		return false, strconv.Quote(value)
	}
}

func parseClaim(obj any) (claim, error) {
	pvc, ok := obj.(*corev1.PersistentVolumeClaim)
	if !ok {
		return claim{}, fmt.Errorf("expected a PersistentVolumeClaim, got %T", obj)
	}
	c := claim{
		name:        pai.StorageName(pvc.Name),
		uid:         pvc.UID,
		volume:      pvc.Spec.VolumeName,
		created:     pvc.CreationTimestamp.Time,
		state:       cmp.Or(string(pvc.Status.Phase), string(corev1.ClaimPending)),
		expose:      pvc.Annotations[exposeAnnotation] == "true",
		declaration: pvc.Labels[specs.DeclarationLabel],
		labels:      pvc.Labels,
		wants: wanted{
			class: classOf(pvc), size: pvc.Spec.Resources.Requests[corev1.ResourceStorage], modes: pvc.Spec.AccessModes, device: isDevice(pvc.Spec.VolumeMode),
		},
	}
	c.share, c.misled = shareOf(pvc.Labels)
	c.size = c.wants.size
	if size, ok := pvc.Status.Capacity[corev1.ResourceStorage]; ok {
		c.size = size
	}
	if pvc.DeletionTimestamp != nil {
		c.state = terminating
	}
	c.bound = c.state == string(corev1.ClaimBound)
	var err error
	if c.wants.selector, err = metav1.LabelSelectorAsSelector(pvc.Spec.Selector); err != nil {
		return c, fmt.Errorf("selector: %w", err)
	}
	if pvc.Spec.Selector == nil {
		c.wants.selector = labels.Everything()
	}
	return c, nil
}

// classOf is the storage class that a claim asks for, by field or by the annotation of old.
func classOf(pvc *corev1.PersistentVolumeClaim) string {
	if class := pvc.Annotations[corev1.BetaStorageClassAnnotation]; class != "" {
		return class
	}
	if pvc.Spec.StorageClassName != nil {
		return *pvc.Spec.StorageClassName
	}
	return ""
}

// storage puts a claim and its volume together.
func (c *Cluster) storage(cl claim) pai.Storage {
	fault := c.claimFault(cl)
	s := pai.Storage{
		Name: cl.name, Share: cl.share, VolumeName: cl.volume, Bound: cl.bound, BindsWithJob: fault.Kind == doctor.ClaimFirstJob,
		Refused: c.refusal(cl).Kind != "", Reason: c.reason(cl, fault),
		Type: pai.StorageUnknown,
	}
	v, ok := c.volumes.get(cl.volume)
	if cl.volume == "" || !ok {
		s.Data = map[string]string{}
		return s
	}
	s.Type, s.ReadOnly, s.SecretName, s.Handle = v.kind, v.readOnly, v.secretName, v.handle
	s.Data, s.MountOptions = v.data, v.mountOptions
	if cl.expose {
		s.Data, s.MountOptions = v.openData, v.openOptions
	}
	return s
}

// StoragesGeneration grows with every change of a storage: what was made of storages holds as long as it is the same before and after.
func (c *Cluster) StoragesGeneration() uint64 {
	return c.claims.generation.Load() + c.volumes.generation.Load() + c.classes.generation.Load()
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
