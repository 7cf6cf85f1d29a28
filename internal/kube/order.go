package kube

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
	mounting "github.com/pai-storage/pai-storage/internal/volume"
)

// orderRecord is what is kept of an order: its content has what a storage is mounted with, so not that.
type orderRecord struct {
	name    string
	digest  string
	version string
	orderScope
}

// orderScope is what the caches keep of the content of an order.
type orderScope struct {
	Nodes     []string // the only workers that it is for
	Unmounted string   // why nothing is mounted for the check
}

// orderDigest is where the digest of an order stands in the caches, in the place of the order.
const orderDigest = "digest"

// slimOrder keeps contents of orders out of the caches.
func slimOrder(obj any) (any, error) {
	s, ok := obj.(*corev1.Secret)
	if !ok {
		return obj, nil // a tombstone
	}
	s.ManagedFields = nil
	if text, ok := s.Data[storagecheck.OrderKey]; ok {
		var o storagecheck.Order
		if json.Unmarshal(text, &o) != nil {
			o = storagecheck.Order{}
		}
		scope, err := json.Marshal(orderScope{o.Nodes, o.Unmounted})
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		s.Data = map[string][]byte{orderDigest: sum[:], "scope": scope}
	}
	return s, nil
}

func parseOrder(obj any) (orderRecord, error) {
	s, err := secretOf(obj)
	if err != nil {
		return orderRecord{}, err
	}
	r := orderRecord{name: s.Name, digest: string(s.Data[orderDigest]), version: s.ResourceVersion}
	if len(s.Data["scope"]) == 0 {
		return r, nil // none of ours wrote it, and it is written anew
	}
	return r, json.Unmarshal(s.Data["scope"], &r.orderScope)
}

// ordersAgain is how often Secrets of storages are read again: their changes are not followed, because most Secrets of the jobs namespace are
// none of ours.
const ordersAgain = 2 * time.Minute

// followOrders has an order looked after when its storage changes, and jobs that wait looked at again when workers find out something about
// their storages.
func (c *Cluster) followOrders() {
	claims, volumes := c.claims.notify, c.volumes.notify
	c.claims.notify = func(cl claim) {
		claims(cl)
		c.orderKeeper.touch(string(cl.name))
	}
	c.volumes.notify = func(v volume) {
		volumes(v)
		if v.owner != nil && v.owner.Namespace == c.namespace {
			c.orderKeeper.touch(v.owner.Name)
		}
	}
	c.orders.notify = func(o orderRecord) { c.orderKeeper.touch(o.name) } // somebody else may have changed it
	c.reports.notify = func(r report) {
		if c.heard.news(r) {
			c.board.touchAround()
		}
	}
}

// touchOrders looks after all orders again and again, and after those that groups were granted or lost at once.
func (c *Cluster) touchOrders(ctx context.Context) {
	if c.WaitSynced(ctx) != nil {
		return
	}
	var seen uint64
	var next time.Time
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		now := time.Now()
		if now.After(next) {
			next = now.Add(ordersAgain*9/10 + rand.N(ordersAgain/5)) // several servers do not do it all at once
			c.orderKeeper.touchAll()
			c.forgetNodes(ctx)
		}
		if groups := c.groups.generation.Load(); groups != seen {
			seen = groups
			for _, name := range c.orderNames() {
				if _, ordered := c.orders.get(name); ordered != c.held(pai.StorageName(name)) {
					c.orderKeeper.touch(name)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// forgetNodes deletes the reports of workers that are gone.
func (c *Cluster) forgetNodes(ctx context.Context) {
	for _, name := range c.reports.names() {
		if _, there := c.nodes.get(name); there {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, writeTimeout)
		err := c.client.CoreV1().ConfigMaps(storagecheck.ReportNamespace).Delete(ctx, name, metav1.DeleteOptions{})
		cancel()
		if err != nil && !apierrors.IsNotFound(err) {
			c.log.WarnContext(ctx, "the report of a node that is gone stays", "node", name, "cause", err.Error())
		}
	}
}

// orderNames are the storages that have an order, or may get one.
func (c *Cluster) orderNames() []string {
	names := append(c.claims.names(), c.orders.names()...)
	slices.Sort(names)
	return slices.Compact(names)
}

// grantedSet is what groups hold, as long as no group changes.
type grantedSet struct {
	generation uint64
	names      map[pai.StorageName]bool
}

// held tells whether a group has the storage.
func (c *Cluster) held(name pai.StorageName) bool {
	generation := c.groups.generation.Load()
	known := c.granted.Load()
	if known == nil || known.generation != generation {
		known = &grantedSet{generation, map[pai.StorageName]bool{}}
		for _, g := range c.groups.all() {
			for _, s := range g.ACLs().StorageConfigs {
				known.names[s] = true
			}
		}
		c.granted.Store(known)
	}
	return known.names[name]
}

// keepOrder writes, changes or takes away the order of a storage.
func (c *Cluster) keepOrder(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	secrets := c.client.CoreV1().Secrets(storagecheck.OrderNamespace)
	have, exists := c.orders.get(name)
	want, ok, err := c.orderFor(ctx, pai.StorageName(name))
	if err != nil {
		return err
	}
	if !ok {
		if exists {
			if err := secrets.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("withdraw the order to check %s: %w", name, err)
			}
		}
		return nil
	}
	text, err := json.Marshal(want)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	if exists && have.digest == string(sum[:]) {
		return nil
	}
	object := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: storagecheck.OrderNamespace, Labels: map[string]string{"app.kubernetes.io/managed-by": "rest-server"}},
		Data: map[string][]byte{storagecheck.OrderKey: text}}
	if exists {
		object.ResourceVersion = have.version
		_, err = secrets.Update(ctx, object, metav1.UpdateOptions{})
	} else {
		_, err = secrets.Create(ctx, object, metav1.CreateOptions{})
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // another server was faster; what it wrote comes back as a change
	}
	if err != nil {
		return fmt.Errorf("order to check %s: %w", name, err)
	}
	return nil
}

// orderFor is what workers are to check of a storage. ok: there is something to check.
func (c *Cluster) orderFor(ctx context.Context, name pai.StorageName) (o storagecheck.Order, ok bool, err error) {
	cl, known := c.claims.get(string(name))
	if !known || !cl.bound || cl.state == terminating || c.refusal(cl).Kind != "" || !c.held(name) {
		return o, false, nil
	}
	v, known := c.volumes.get(cl.volume)
	if !known || !v.recipe.checkable() {
		return o, false, nil
	}
	r := v.recipe
	o = storagecheck.Order{Storage: string(name), Type: string(v.kind), Driver: r.driver, Flex: r.flex, Fault: r.fault}
	o.Nodes = c.nodesCalled(r.nodes)
	if !r.create {
		o.Path = r.path
	}
	if r.unmounted != "" {
		o.Unmounted, o.OwnFault = r.unmounted, r.ownFault
		return o, true, nil
	}
	if r.mount == nil || r.fault != "" {
		if driver := r.driver + r.flex; driver != "" && r.fault == "" {
			o.Unmounted = "volumes of the driver " + driver + " are not mounted for a check: only the driver is looked for"
		}
		return o, true, nil
	}
	if v.secretName == "" {
		o.Mount = r.mount
		if o.Secret, err = mounting.Secret(r.driver, *r.mount, nil); err != nil {
			o.Mount, o.Fault, err = nil, err.Error(), nil
			if r.publishOnly {
				o.Fault = "the volume names a Secret in nodePublishSecretRef alone: " + o.Fault
			}
			if v.csi && mounting.Official(r.driver) {
				o.Unmounted = "the volume names no Secret: " + r.driver + " has to know what to mount it with, and the check does not; only the driver is looked for"
				o.OwnFault, o.Fault = o.Fault, ""
			}
		}
		return o, true, nil
	}
	if v.secretNamespace != "" && v.secretNamespace != c.namespace {
		o.Unmounted = fmt.Sprintf("its Secret is in namespace %s, which the server does not read (only %s): it was not mounted", v.secretNamespace, c.namespace)
		return o, true, nil
	}
	return o, true, c.addSecret(ctx, &o, v)
}

// nodesCalled are the names of the workers that have these host names.
func (c *Cluster) nodesCalled(hosts []string) []string {
	if len(hosts) == 0 {
		return nil
	}
	var names []string
	nodes := c.nodes.all()
	for _, host := range hosts {
		before := len(names)
		for _, n := range nodes {
			if n.host == host {
				names = append(names, n.name)
			}
		}
		switch _, other := c.nodes.get(host); {
		case len(names) > before:
		case other: // a worker of that name, which is called otherwise
			names = append(names, corev1.LabelHostname+"="+host) // none has such a name: the list of workers is not empty, which would be all
		default:
			names = append(names, host) // it is not there yet
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// hostsOf are the host names of workers, by which volumes name them.
func (c *Cluster) hostsOf(names []string) []string {
	hosts := slices.Clone(names)
	for i, name := range names {
		if n, ok := c.nodes.get(name); ok {
			hosts[i] = n.host
		}
	}
	return hosts
}

// addSecret puts what a storage is mounted with into its order.
func (c *Cluster) addSecret(ctx context.Context, o *storagecheck.Order, v volume) error {
	// The server may list Secrets, and not read one by its name.
	list, err := c.client.CoreV1().Secrets(c.namespace).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + v.secretName})
	if err != nil {
		return fmt.Errorf("read Secret %s of storage %s: %w", v.secretName, o.Storage, err)
	}
	at := slices.IndexFunc(list.Items, func(s corev1.Secret) bool { return s.Name == v.secretName })
	if at < 0 {
		o.Fault = fmt.Sprintf("secrets %q not found", v.secretName)
		return nil
	}
	found := list.Items[at]
	if o.Flex != "" && string(found.Type) != o.Flex {
		o.Fault = "Cannot get secret of type " + o.Flex
		return nil
	}
	raw := map[string]string{}
	for key, value := range found.Data {
		raw[key] = string(value)
	}
	completed, err := mounting.WithSecret(*v.recipe.mount, raw)
	if err == nil {
		o.Secret, err = mounting.Secret(o.Driver, completed, raw)
	}
	if err != nil {
		o.Fault = err.Error()
		return nil
	}
	o.Mount = &completed
	return nil
}
