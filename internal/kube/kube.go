// Package kube keeps the nouns of PAI Storage in Kubernetes: watch-fed caches in, writes out.
//
// It is the only place that talks to Kubernetes for them. Use it from the wiring (package daemon); everything else asks through the
// guard of package auth, because nothing here asks who is calling.
//
// Where things live, in the original OpenPAI's own format:
//
//   - groups: Secrets in the namespace pai-group; users: Secrets in pai-user-v2; tokens: Secrets in pai-user-token, each named with the
//     name in hexadecimal;
//   - accounts at the SMB server: Secrets in pai-storage-account, named likewise; the caches do not have their hashes;
//   - storages: PersistentVolumeClaims in the jobs namespace, with their volumes;
//   - the audit trail: ConfigMaps in the system namespace;
//   - what workers are to check of storages, and what they found: see package storagecheck;
//   - jobs: one Secret of type pai.storage/job in the jobs namespace, which owns one Indexed Job for each task role.
//
// Its rules:
//
//   - Reads are answered from the caches and make no request. Only the log of a task is read from Kubernetes.
//   - A write returns when the caches have seen it, so that its writer reads what it wrote.
//   - Secrets are written with the version that was read; conflicts are retried.
//   - Objects that cannot be read are logged and ignored; they never fail a request about another object.
//
// Example:
//
//	cluster, err := kube.New(client, kube.Options{JobsNamespace: "default", Log: log})
//	go cluster.Run(ctx)
//	storages, err := cluster.Storages(ctx)
package kube

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auditlog"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// The namespaces that hold the state.
const (
	GroupNamespace = "pai-group"
	UserNamespace  = "pai-user-v2"
	TokenNamespace = "pai-user-token"

	StorageAccountNamespace = specs.StorageAccountNamespace

	SystemNamespace = "pai-system" // of the server's own things, unless it is told another one
)

// Options says how to work with a cluster.
type Options struct {
	JobsNamespace   string                  // where storages and jobs are
	SystemNamespace string                  // where the server keeps its own things; "" for pai-system
	VirtualClusters map[string]pai.Quantity // what is guaranteed to whom
	Follower        kubernetes.Interface    // fills the caches; nil: the client that does the rest
	Ask             Ask                     // asks file servers whether they are there; nil: they are not asked
	PlacePatience   time.Duration           // how long a job that cannot mount its storages keeps its workers; 0 for as long as it takes
	TaskInit        string                  // the image that makes personal folders; "" for the local cluster's
	Log             *slog.Logger            // nil: slog.Default()
	Now             func() time.Time        // nil: time.Now
}

// Cluster is the nouns as they are in one Kubernetes cluster.
type Cluster struct {
	client    kubernetes.Interface
	namespace string
	system    string
	log       *slog.Logger
	now       func() time.Time

	groups   *view[pai.Group]
	users    *view[pai.User]
	tokens   *view[tokenList]
	accounts *view[storageAccount]
	claims   *view[claim]
	volumes  *view[volume]
	classes  *view[storageClass]
	records  *view[record]
	jobs     *view[roleJob]
	pods     *view[taskPod]
	others   *view[otherPod]
	chunks   *view[chunk]
	nodes    *view[node]
	events   *view[event]
	drivers  *view[drivers]
	orders   *view[orderRecord]
	reports  *view[report]

	board         *board
	jobKeeper     *keeper
	accountKeeper *keeper
	orderKeeper   *keeper
	granted       atomic.Pointer[grantedSet]
	verdicts      verdicts
	heard         hearing
	checks        atomic.Pointer[checkIndex]

	probes   *prober // nil: file servers are not asked
	nodeList atomic.Pointer[nodeList]
	taskInit string // the image that makes personal folders
	patience time.Duration

	rawNodes, rawPods cache.Indexer // what administrators see
	rawRecords        cache.Indexer // documents of jobs
	clusters          map[string]pai.Quantity

	trails map[string]*trail // by the value of their label

	turnsLock sync.Mutex
	turns     map[string]*turns // by object name of a group

	informers []cache.SharedIndexInformer
	synced    []cache.InformerSynced
}

// New prepares the caches; [Cluster.Run] fills them.
func New(client kubernetes.Interface, o Options) (*Cluster, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SystemNamespace == "" {
		o.SystemNamespace = SystemNamespace
	}
	c := &Cluster{client: client, namespace: o.JobsNamespace, system: o.SystemNamespace, log: o.Log, now: o.Now, clusters: o.VirtualClusters, turns: map[string]*turns{}}
	c.trails = map[string]*trail{auditlog.Main: newTrail(c, auditlog.Main), auditlog.Jobs: newTrail(c, auditlog.Jobs)}
	c.groups = newView("group", c.log, parseGroup)
	c.users = newView("user", c.log, parseUser)
	c.tokens = newView("token", c.log, parseTokens)
	c.accounts = newView("storage account", c.log, parseStorageAccount)
	c.accounts.group = func(a storageAccount) string { return pai.StorageAccountKey(a.User) }
	c.claims = newView("claim", c.log, c.readClaim)
	c.volumes = newView("volume", c.log, parseVolume)
	c.classes = newView("storage class", c.log, parseStorageClass)
	c.records = newView("job", c.log, parseRecord)
	c.jobs = newView("role job", c.log, parseRoleJob)
	c.jobs.group = func(j roleJob) string { return j.key }
	c.records.group = func(r record) string {
		if r.held {
			return heldGroup
		}
		return ""
	}
	c.pods = newView("pod", c.log, parsePod)
	c.pods.group = func(p taskPod) string { return p.key }
	c.pods.only = func(m metav1.Object) bool {
		return m.GetNamespace() == c.namespace && m.GetLabels()[specs.JobLabel] != ""
	}
	c.others = newView("pod", c.log, parseOtherPod)
	c.others.wide, c.others.only = true, func(m metav1.Object) bool { return !c.pods.only(m) }
	c.others.group = func(p otherPod) string { return p.node }
	c.chunks = newView("audit", c.log, parseChunk)
	c.nodes = newView("node", c.log, parseNode)
	c.events = newView("event", c.log, parseEvent)
	c.events.group = func(e event) string { return e.about }
	c.drivers = newView("CSI node", c.log, parseDrivers)
	c.orders = newView("order", c.log, parseOrder)
	c.reports = newView("node report", c.log, parseReport)
	c.taskInit, c.patience = o.TaskInit, o.PlacePatience
	c.board = newBoard(c)
	c.jobKeeper = newKeeper(c, "a job", c.keepJob, c.records.names)
	c.accountKeeper = newKeeper(c, "an SMB account", c.keepAccount, c.accounts.names)
	c.orderKeeper = newKeeper(c, "the order to check a storage", c.keepOrder, c.orderNames)
	if o.Ask != nil {
		c.probes = newProber(o.Ask, c.now, c.board.touchAround)
	}
	c.followJobs()
	c.followAccounts()
	c.followOrders()
	if o.Follower == nil {
		o.Follower = client
	}
	return c, c.watch(o.Follower)
}

// watch sets up one informer for each kind of object, limited to what the server may see.
func (c *Cluster) watch(client kubernetes.Interface) error {
	slim := func(namespace, field, label string, transform cache.TransformFunc) informers.SharedInformerFactory {
		return informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace),
			informers.WithTransform(transform),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector, o.LabelSelector = field, label }))
	}
	in := func(namespace, field, label string) informers.SharedInformerFactory {
		return slim(namespace, field, label, dropManagedFields)
	}
	secrets := func(namespace, field string) cache.SharedIndexInformer {
		return in(namespace, field, "").Core().V1().Secrets().Informer()
	}
	nodes := slim("", "", "", slimNode).Core().V1().Nodes().Informer()
	pods := slim("", "", "", slimPod).Core().V1().Pods().Informer()
	records := secrets(c.namespace, "type="+specs.RecordType)
	events := slim(c.namespace, "", "", slimEvent).Core().V1().Events().Informer()
	c.rawNodes, c.rawPods, c.rawRecords = nodes.GetIndexer(), pods.GetIndexer(), records.GetIndexer()
	for _, pair := range []struct {
		informer cache.SharedIndexInformer
		view     follower
	}{
		{secrets(GroupNamespace, ""), c.groups},
		{secrets(UserNamespace, ""), c.users},
		{secrets(TokenNamespace, ""), c.tokens},
		{slim(StorageAccountNamespace, "", "", slimStorageAccount).Core().V1().Secrets().Informer(), c.accounts},
		{records, c.records},
		{events, c.events},
		{in("", "", "").Storage().V1().CSINodes().Informer(), c.drivers},
		{slim(storagecheck.OrderNamespace, "", "", slimOrder).Core().V1().Secrets().Informer(), c.orders},
		{in(storagecheck.ReportNamespace, "", "").Core().V1().ConfigMaps().Informer(), c.reports},
		{in(c.system, "", auditlog.Label).Core().V1().ConfigMaps().Informer(), c.chunks},
		{in(c.namespace, "", "").Core().V1().PersistentVolumeClaims().Informer(), c.claims},
		{in("", "", "").Core().V1().PersistentVolumes().Informer(), c.volumes},
		{in("", "", "").Storage().V1().StorageClasses().Informer(), c.classes},
		{slim(c.namespace, "", specs.JobLabel, slimJob).Batch().V1().Jobs().Informer(), c.jobs},
		{nodes, c.nodes},
		{pods, c.pods},
		{pods, c.others},
	} {
		synced, err := pair.view.follow(pair.informer)
		if err != nil {
			return fmt.Errorf("follow %T: %w", pair.view, err)
		}
		c.informers = append(c.informers, pair.informer)
		c.synced = append(c.synced, synced)
	}
	return nil
}

// follower is a view of any type.
type follower interface {
	follow(cache.SharedIndexInformer) (cache.InformerSynced, error)
}

// dropManagedFields halves the memory of the caches.
func dropManagedFields(obj any) (any, error) {
	if meta, ok := obj.(metav1.Object); ok {
		meta.SetManagedFields(nil)
	}
	return obj, nil
}

// Run keeps the caches current until ctx ends.
func (c *Cluster) Run(ctx context.Context) {
	done := make(chan struct{})
	for _, informer := range c.informers {
		go func() {
			informer.RunWithContext(ctx)
			done <- struct{}{}
		}()
	}
	go func() { c.board.run(ctx); done <- struct{}{} }()
	go func() { c.jobKeeper.run(ctx); done <- struct{}{} }()
	go func() { c.accountKeeper.run(ctx); done <- struct{}{} }()
	go func() { c.orderKeeper.run(ctx); done <- struct{}{} }()
	go func() { c.touchOrders(ctx); done <- struct{}{} }()
	for _, t := range c.trails {
		go func() { t.run(ctx); done <- struct{}{} }()
	}
	for range len(c.informers) + 5 + len(c.trails) {
		<-done
	}
}

// Synced tells whether every cache has its first list.
func (c *Cluster) Synced() bool {
	for _, synced := range c.synced {
		if !synced() {
			return false
		}
	}
	return true
}

// Counts is how many objects of each kind the caches hold.
func (c *Cluster) Counts() map[string]int {
	return map[string]int{
		"group": c.groups.count(), "user": c.users.count(), "token-list": c.tokens.count(), "storage-account": c.accounts.count(), "claim": c.claims.count(),
		"volume": c.volumes.count(), "job": c.records.count(), "pod": c.pods.count(), "audit": c.chunks.count(), "node": c.nodes.count(), "event": c.events.count(),
	}
}

// WaitSynced waits until every cache has its first list, or ctx ends.
func (c *Cluster) WaitSynced(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), c.synced...) {
		return fmt.Errorf("wait for the first list of every kind of object: %w", context.Cause(ctx))
	}
	return nil
}

// objectName is the name of the Secret that holds a group, a user, a user's tokens, or a user's account at the SMB server.
func objectName[T ~string](name T) string { return hex.EncodeToString([]byte(name)) }

// secretOf narrows what an informer hands out.
func secretOf(obj any) (*corev1.Secret, error) {
	s, ok := obj.(*corev1.Secret)
	if !ok {
		return nil, fmt.Errorf("expected a Secret, got %T", obj)
	}
	return s, nil
}
