package daemon

import (
	"encoding/json"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// testMatrix plays a worker's agent: two servers order the checks of what a group holds, without undoing each other's orders, and both tell
// what the agent answers.
func testMatrix(t *testing.T, root kubernetes.Interface, servers ...*client.Client) {
	orders := func() map[string]string {
		list, err := root.CoreV1().Secrets(storagecheck.OrderNamespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		versions := map[string]string{}
		for _, o := range list.Items {
			versions[o.Name] = o.ResourceVersion
		}
		return versions
	}
	ordered := orders()
	await.Promised(t, "the orders of what the group holds", 10*time.Second, func() bool {
		ordered = orders()
		return ordered["personal"] != "" && ordered["readonly"] != "" && ordered["unbound"] == ""
	})
	if _, err := root.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker1", Labels: map[string]string{"pai-worker": "true"}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	node, err := root.CoreV1().Nodes().Get(t.Context(), "worker1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if _, err := root.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(storagecheck.Report{Node: "worker1", Time: time.Now(), Results: map[string]storagecheck.Result{
		"personal": {OK: true, Time: time.Now(), Order: ordered["personal"]},
		"readonly": {Message: "mount.nfs: Connection refused", Time: time.Now(), Order: ordered["readonly"]},
	}})
	if err != nil {
		t.Fatal(err)
	}
	report := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: storagecheck.ReportNamespace, Name: "worker1"}, Data: map[string]string{storagecheck.ReportKey: string(text)}}
	if _, err := root.CoreV1().ConfigMaps(storagecheck.ReportNamespace).Create(t.Context(), report, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	state := func(c *client.Client, name pai.StorageName) client.Cell {
		h, err := c.StorageHealth(t.Context(), name)
		if err != nil || len(h.Cells) != 1 {
			return client.Cell{}
		}
		return h.Cells[0]
	}
	for _, c := range servers {
		await.Promised(t, "what the agent found", 10*time.Second, func() bool {
			return state(c, "personal").State == pai.CellOK && state(c, "readonly").State == pai.CellFailed
		})
		if f := state(c, "readonly").Finding; f == nil || f.Code != "STO-302" {
			t.Errorf("finding %+v", f)
		}
	}
	if now := orders(); now["personal"] != ordered["personal"] || now["readonly"] != ordered["readonly"] {
		t.Errorf("orders were %v and are %v, and nothing has changed", ordered, now)
	}
	if err := root.CoreV1().Nodes().Delete(t.Context(), "worker1", metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
}
