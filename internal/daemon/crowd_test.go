package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/kube"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// crowd is clients who write at once, and remember what they were told.
type crowd struct {
	root  kubernetes.Interface
	size  int
	alive bool // the server is there all the time: it may refuse, and must not be silent

	url   atomic.Pointer[string]
	token string

	mu       sync.Mutex
	users    []pai.UserName           // acknowledged
	storages []pai.StorageName        // acknowledged
	grants   map[pai.StorageName]bool // acknowledged; one that is not in here may be granted or not
	refused  map[pai.Code]int
	writes   int           // acknowledged
	changed  chan struct{} // closed at the next acknowledgement
}

const crowdGroup = pai.GroupName("crowd")

func newCrowd(t *testing.T, root kubernetes.Interface, url string, size int) *crowd {
	t.Helper()
	c := &crowd{root: root, size: size, grants: map[pai.StorageName]bool{}, refused: map[pai.Code]int{}, changed: make(chan struct{})}
	c.moveTo(url)
	admin := connectAs(t, url, "admin", "secret-admin")
	if err := admin.CreateGroup(t.Context(), client.GroupChange{Groupname: string(crowdGroup)}); err != nil {
		t.Fatal(err)
	}
	createClaims(t, root, size)
	session, err := admin.Login(t.Context(), "admin", "secret-admin", 0)
	if err != nil {
		t.Fatal(err)
	}
	c.token = session.Token
	return c
}

func (c *crowd) moveTo(url string) { c.url.Store(&url) }

func (c *crowd) client(t *testing.T) *client.Client {
	t.Helper()
	now, err := client.New(*c.url.Load(), c.token)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// start lets everybody write until stop is called, which waits for the answers to what is under way.
func (c *crowd) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i := range c.size {
		running.Go(func() {
			const pause = 20 * time.Millisecond // so that the machine is not busy with clients alone
			for n := 0; ctx.Err() == nil; n++ {
				c.write(t, i, n)
				time.Sleep(pause)
			}
		})
	}
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop
}

// write is the n-th write of a client: few make users, because passwords are costly, the others storages and grants.
func (c *crowd) write(t *testing.T, i, n int) {
	switch {
	case i%10 == 0:
		name := pai.UserName(fmt.Sprintf("user-%d-%d", i, n))
		_, err := c.client(t).CreateUser(context.Background(), client.NewUser{Username: string(name), Password: "secret-user"})
		c.answered(t, err, func() { c.users = append(c.users, name) })
	case i%2 == 0:
		name := pai.StorageName(fmt.Sprintf("st-%d-%d", i, n))
		_, err := c.client(t).DeclareStorage(context.Background(), client.Declaration{Name: string(name), Type: pai.StorageSamba, Address: "//host/share",
			Secret: pai.Secret{"username": "u", "password": "p"}}, false)
		c.answered(t, err, func() { c.storages = append(c.storages, name) })
	default:
		c.grantOrRevoke(t, i)
	}
}

// grantOrRevoke changes the client's own grant to the other state, again until it is told that it is so.
func (c *crowd) grantOrRevoke(t *testing.T, i int) {
	name := pai.StorageName(fmt.Sprintf("new-%d", i))
	c.mu.Lock()
	was, known := c.grants[name]
	delete(c.grants, name)
	c.mu.Unlock()
	change, granted := (*client.Client).GrantStorage, true
	if known && was {
		granted = false
		change = func(c *client.Client, ctx context.Context, group pai.GroupName, storage pai.StorageName) (client.Grant, error) {
			return c.RevokeStorage(ctx, group, storage, false)
		}
	}
	_, err := change(c.client(t), context.Background(), crowdGroup, name)
	c.answered(t, err, func() { c.grants[name] = granted })
}

// answered notes what came of a write.
func (c *crowd) answered(t *testing.T, err error, acknowledged func()) {
	var refusal *pai.Error
	switch {
	case err == nil:
		c.mu.Lock()
		defer c.mu.Unlock()
		acknowledged()
		c.writes++
		close(c.changed)
		c.changed = make(chan struct{})
		return
	case errors.As(err, &refusal):
		c.mu.Lock()
		c.refused[refusal.Code]++
		c.mu.Unlock()
		if !slices.Contains([]pai.Code{pai.UnavailableError, pai.UnknownError, pai.ConflictGroupError}, refusal.Code) {
			t.Errorf("a write was refused: %v", err)
		}
	case c.alive:
		t.Errorf("the server is silent: %v", err)
	}
	time.Sleep(100 * time.Millisecond) // the server has other worries
}

// awaitWrites waits for so many more acknowledged writes.
func (c *crowd) awaitWrites(t *testing.T, more int) {
	t.Helper()
	limit := time.After(await.Limit)
	c.mu.Lock()
	target := c.writes + more
	c.mu.Unlock()
	for {
		c.mu.Lock()
		done, changed, refused := c.writes >= target, c.changed, fmt.Sprint(c.refused)
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("no %d writes; refused: %s", more, refused)
		}
	}
}

// readWhile reads as long as something is so, and at least once.
func (c *crowd) readWhile(t *testing.T, is func() bool) {
	t.Helper()
	for n := 0; n == 0 || is(); n++ {
		users, err1 := c.client(t).Users(t.Context())
		storages, err2 := c.client(t).Storages(t.Context(), false)
		if err1 != nil || err2 != nil || len(users) == 0 || len(storages) < c.size {
			t.Fatalf("reads without Kubernetes: %d users, %d storages, %v, %v", len(users), len(storages), err1, err2)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// check compares what the cluster has with what the clients were told.
func (c *crowd) check(t *testing.T) {
	t.Helper()
	admin := c.client(t)
	users, err := admin.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	there := map[pai.UserName]bool{}
	for _, u := range users {
		there[pai.UserName(u.Username)] = true
	}
	for _, name := range c.users {
		if !there[name] {
			t.Errorf("user %s was acknowledged and is not there", name)
		}
	}
	g, _, err := admin.Group(t.Context(), crowdGroup)
	if err != nil {
		t.Fatal(err)
	}
	for name, granted := range c.grants {
		if slices.Contains(g.ACLs().StorageConfigs, name) != granted {
			t.Errorf("storage %s: acknowledged as granted: %t, and it is not so", name, granted)
		}
	}
	if _, err := admin.Login(t.Context(), c.users[len(c.users)-1], "secret-user", 0); err != nil {
		t.Errorf("the last user cannot sign in: %v", err)
	}
	c.checkSecrets(t)
	c.checkStorages(t)
}

// checkSecrets: every object of a user and a group is one that the server reads.
func (c *crowd) checkSecrets(t *testing.T) {
	t.Helper()
	admin := c.client(t)
	users, err := admin.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	groups, err := admin.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for namespace, readable := range map[string]int{kube.UserNamespace: len(users), kube.GroupNamespace: len(groups)} {
		list, err := c.root.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != readable {
			t.Errorf("%s: %d Secrets, of which %d are read, %v", namespace, len(list.Items), readable, err)
		}
	}
}

// declared is the objects of declared storages that are not about to go, by declaration.
type declared struct {
	volumes map[string]corev1.PersistentVolume
	claims  map[string]corev1.PersistentVolumeClaim
	secrets map[string]corev1.Secret
}

func declaredObjects(t *testing.T, root kubernetes.Interface) declared {
	t.Helper()
	with := metav1.ListOptions{LabelSelector: specs.DeclarationLabel}
	claims, err1 := root.CoreV1().PersistentVolumeClaims("default").List(t.Context(), with)
	volumes, err2 := root.CoreV1().PersistentVolumes().List(t.Context(), with)
	secrets, err3 := root.CoreV1().Secrets("default").List(t.Context(), with)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	out := declared{map[string]corev1.PersistentVolume{}, map[string]corev1.PersistentVolumeClaim{}, map[string]corev1.Secret{}}
	existing := map[types.UID]bool{}
	for _, v := range volumes.Items {
		if v.DeletionTimestamp == nil { // else a controller is to say that nobody uses it any more, and there is none here
			out.volumes[v.Labels[specs.DeclarationLabel]] = v
			existing[v.UID] = true
		}
	}
	for _, cl := range claims.Items {
		out.claims[cl.Labels[specs.DeclarationLabel]] = cl
	}
	for _, s := range secrets.Items {
		if existing[s.OwnerReferences[0].UID] { // else it goes with its volume, as soon as a controller looks
			out.secrets[s.Labels[specs.DeclarationLabel]] = s
		}
	}
	return out
}

// halves are the volumes without a claim.
func (d declared) halves() []corev1.PersistentVolume {
	var out []corev1.PersistentVolume
	for id, v := range d.volumes {
		if _, whole := d.claims[id]; !whole {
			out = append(out, v)
		}
	}
	return out
}

// checkStorages: each is whole, and each that was acknowledged is there.
func (c *crowd) checkStorages(t *testing.T) {
	t.Helper()
	objects := declaredObjects(t, c.root)
	there := map[pai.StorageName]bool{}
	for id, cl := range objects.claims {
		there[pai.StorageName(cl.Name)] = true
		volume, hasVolume := objects.volumes[id]
		secret, hasSecret := objects.secrets[id]
		if !hasVolume || !hasSecret || volume.Spec.ClaimRef.Name != cl.Name || cl.Spec.VolumeName != volume.Name || string(secret.Data["password"]) != "p" {
			t.Errorf("storage %s is not whole: volume %t, Secret %t", cl.Name, hasVolume, hasSecret)
		}
	}
	if n := len(objects.volumes); n != len(objects.claims) {
		t.Errorf("%d volumes for %d claims", n, len(objects.claims))
	}
	for _, name := range c.storages {
		if !there[name] {
			t.Errorf("storage %s was acknowledged and is not there", name)
		}
	}
}

// makeHalf leaves what a server leaves that is killed before it makes the claim.
func makeHalf(t *testing.T, root kubernetes.Interface) {
	t.Helper()
	d, err := pai.StorageDeclaration{Name: "half", Type: pai.StorageNFS, Server: "10.0.0.1", Path: "/half"}.Normalize()
	if err != nil {
		t.Fatal(err)
	}
	volume, err := specs.Volume("default", "half", d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.CoreV1().PersistentVolumes().Create(t.Context(), volume, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func awaitNoHalves(t *testing.T, root kubernetes.Interface) {
	t.Helper()
	await.Promised(t, "no half of a storage stays", 30*time.Second, func() bool { return len(declaredObjects(t, root).halves()) == 0 })
}

// report says what the test is worth.
func (c *crowd) report(t *testing.T, kills int) {
	t.Helper()
	if len(c.users) == 0 || len(c.storages) == 0 || len(c.grants) == 0 {
		t.Errorf("nothing was written: %d users, %d storages, %d grants", len(c.users), len(c.storages), len(c.grants))
	}
	t.Logf("%d kills, %d writes acknowledged: %d users, %d storages, %d grants known at the end; refused: %v", kills, c.writes, len(c.users), len(c.storages),
		len(c.grants), c.refused)
}
