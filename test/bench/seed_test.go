package bench

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	pai "github.com/pai-storage/pai-storage"
)

// testbed is a Kubernetes API and what there is in it.
type testbed struct {
	t          *testing.T
	config     *rest.Config
	program    string
	kubeconfig string
	token      string // of the user who asks
	made       int    // users
	groups     int
	played     func() error // why nobody plays kubelets any more; nil while somebody does
}

func groupName(i int) pai.GroupName { return pai.GroupName(fmt.Sprintf("group-%04d", i)) }
func storageName(i int) string      { return fmt.Sprintf("storage-%04d", i) }

// seed fills up to so many users, and adds groups and storages. A user is in three groups, and a group has five storages.
func (b *testbed) seed(users, groups, storages int) {
	b.t.Helper()
	config := rest.CopyConfig(b.config)
	config.QPS, config.Burst = 5000, 5000
	k, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.t.Fatal(err)
	}
	b.groups = max(b.groups, groups)
	began := time.Now()
	for _, namespace := range []string{"pai-system", "pai-group", "pai-user-v2", "pai-user-token"} {
		_, err := k.CoreV1().Namespaces().Create(b.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			b.t.Fatal(err)
		}
	}
	b.each(0, groups, func(ctx context.Context, i int) error {
		var granted []string
		for j := range 5 {
			granted = append(granted, fmt.Sprintf("%q", storageName((i*5+j)%max(storages, 1))))
		}
		return secret(ctx, k, "pai-group", string(groupName(i)), map[string]string{"groupname": string(groupName(i)), "description": "a team of the benchmark", "externalName": "",
			"extension": `{"acls":{"admin":false,"virtualClusters":["default"],"storageConfigs":[` + strings.Join(granted, ",") + `]}}`})
	})
	b.each(b.made, users, func(ctx context.Context, i int) error {
		name := fmt.Sprintf("user-%05d", i)
		n := b.groups
		return secret(ctx, k, "pai-user-v2", name, map[string]string{"username": name, "email": name + "@example.org", "password": "$argon2id$none",
			"grouplist": fmt.Sprintf("[%q,%q,%q]", groupName(i%n), groupName((i+7)%n), groupName((i+31)%n)),
			"extension": `{"sshKeys":[{"title":"laptop","value":"ssh-ed25519 AAAA` + strings.Repeat("x", 60) + `"}]}`})
	})
	b.made = max(b.made, users)
	b.each(0, storages, func(ctx context.Context, i int) error { return storage(ctx, k, storageName(i)) })
	fmt.Fprintf(os.Stderr, "up to %d users, %d more groups and %d more storages in %.1f s\n", users, groups, storages, time.Since(began).Seconds())
}

// each works on the numbers from and up to, sixteen at a time.
func (b *testbed) each(from, to int, do func(context.Context, int) error) {
	b.t.Helper()
	work, ctx := errgroup.WithContext(b.t.Context())
	work.SetLimit(16)
	for i := from; i < to; i++ {
		work.Go(func() error { return do(ctx, i) })
	}
	if err := work.Wait(); err != nil {
		b.t.Fatal(err)
	}
}

func secret(ctx context.Context, k kubernetes.Interface, namespace, name string, data map[string]string) error {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: hex.EncodeToString([]byte(name))}, StringData: data}
	_, err := k.CoreV1().Secrets(namespace).Create(ctx, s, metav1.CreateOptions{})
	return err
}

// storage makes a volume and a claim, bound as the controller would bind them.
func storage(ctx context.Context, k kubernetes.Interface, name string) error {
	modes, size := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}, resource.MustParse("10Gi")
	class := ""
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name + "-pv"}, Spec: corev1.PersistentVolumeSpec{
		AccessModes: modes, Capacity: corev1.ResourceList{corev1.ResourceStorage: size}, MountOptions: []string{"nfsvers=4.1"},
		PersistentVolumeSource: corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "10.0.0.1", Path: "/" + name}},
		ClaimRef:               &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: "default", Name: name},
	}}
	if _, err := k.CoreV1().PersistentVolumes().Create(ctx, v, metav1.CreateOptions{}); err != nil {
		return err
	}
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: modes, VolumeName: v.Name, StorageClassName: &class, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}},
	}}
	c, err := k.CoreV1().PersistentVolumeClaims("default").Create(ctx, c, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	c.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound, AccessModes: modes, Capacity: corev1.ResourceList{corev1.ResourceStorage: size}}
	_, err = k.CoreV1().PersistentVolumeClaims("default").UpdateStatus(ctx, c, metav1.UpdateOptions{})
	return err
}

// direct is the GET of one claim at the Kubernetes API, which is the least that a server without caches would do.
func (b *testbed) direct() target {
	b.t.Helper()
	config, err := rest.TLSConfigFor(b.config)
	if err != nil {
		b.t.Fatal(err)
	}
	host := strings.TrimPrefix(b.config.Host, "https://")
	config.ServerName, _, _ = strings.Cut(host, ":")
	config.NextProtos = []string{"http/1.1"}
	return target{address: host, tls: config, request: request("/api/v1/namespaces/default/persistentvolumeclaims/"+storageName(0), host, "")}
}

// requestsOnRead is how many requests the Kubernetes API answered while the server was asked to read and for nothing else. Watches are
// counted by the API when they end, and are no reads; its own housekeeping is about other kinds of objects.
func (b *testbed) requestsOnRead(p *program, paths []string) float64 {
	b.t.Helper()
	before := b.answered()
	for _, path := range paths {
		ask(b.t, p.target(path), *clients, *turn)
	}
	return b.answered() - before
}

// answered adds up the API server's own counter for the kinds of objects that the server keeps.
func (b *testbed) answered() (sum float64) {
	b.t.Helper()
	transport, err := rest.TransportFor(b.config)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: transport}).Get(b.config.Host + "/metrics")
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		b.t.Fatalf("metrics: %s %s", resp.Status, text)
	}
	found := false
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "apiserver_request_total{") || strings.Contains(line, `verb="WATCH"`) || !ours(line) {
			continue
		}
		var n float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &n); err != nil {
			b.t.Fatal(err)
		}
		sum, found = sum+n, true
	}
	if err := lines.Err(); err != nil || !found {
		b.t.Fatalf("the API server's metrics cannot be read: %v", err)
	}
	return sum
}

func ours(line string) bool {
	for _, kind := range []string{"secrets", "configmaps", "persistentvolumes", "persistentvolumeclaims", "pods", "jobs", "nodes", "tokenreviews", "subjectaccessreviews"} {
		if strings.Contains(line, `resource="`+kind+`"`) {
			return true
		}
	}
	return false
}
