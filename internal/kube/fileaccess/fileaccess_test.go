package fileaccess

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

const (
	hashA = "8846F7EAEE8FB117AD06BDD830B7586C"
	hashB = "A4F49C406510BDCAB6824EE7C30FD852"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// secret is an account, made so many minutes after noon.
func secret(name pai.UserName, hash string, admin bool, minutes int) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: specs.StorageAccountNamespace, Name: specs.StorageAccountName(name),
		CreationTimestamp: metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute))}}
	specs.FillStorageAccount(s, pai.StorageAccount{User: name, Set: noon, Admin: admin}, pai.PasswordHash(hash))
	return s
}

// collect starts a watch and returns its calls. The watch ends with the test.
func collect[T any](t *testing.T, start func(context.Context, func([]T)) error) <-chan []T {
	t.Helper()
	calls := make(chan []T, 100)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := start(ctx, func(list []T) { calls <- list }); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return calls
}

// next is the next call.
func next[T any](t *testing.T, calls <-chan []T) []T {
	t.Helper()
	select {
	case list := <-calls:
		return list
	case <-time.After(await.Limit):
		t.Fatal("no call came")
		return nil
	}
}

// until waits for a call of a list that is as wished.
func until[T any](t *testing.T, calls <-chan []T, is func([]T) bool) []T {
	t.Helper()
	for {
		if list := next(t, calls); is(list) {
			return list
		}
	}
}

func TestAccounts(t *testing.T) {
	broken := secret("broken", "no-hash-of-a-password-but-CANARY", false, 0)
	foreign := secret("foreign", hashA, false, 0)
	foreign.Data[specs.StorageAccountUser] = []byte("admin")
	client := kubefake.New(secret("carol", hashB, true, 3), secret("alice", hashA, false, 1), secret("Alice", hashB, true, 2), secret("root", hashA, true, 0), broken, foreign)
	var log bytes.Buffer
	calls := collect(t, func(ctx context.Context, changed func([]Account)) error {
		return WatchAccounts(ctx, client, slog.New(slog.NewTextHandler(&log, nil)), changed)
	})
	const taken = "User Alice cannot have an SMB password: user alice has one, and the SMB server does not tell upper from lower case in names."
	refused := []Account{{Name: "broken", Refused: "nthash has other characters than 0-9 and A-F"},
		{Name: "root", Refused: "User root cannot have an SMB password: the SMB server has an account of that name for itself."}}
	want := []Account{{Name: "Alice", Refused: taken}, {"alice", hashA, false, ""}, refused[0], {"carol", hashB, true, ""}, refused[1]}
	if diff := cmp.Diff(want, next(t, calls)); diff != "" {
		t.Error(diff)
	}
	secrets := client.CoreV1().Secrets(specs.StorageAccountNamespace)
	if err := secrets.Delete(t.Context(), specs.StorageAccountName("alice"), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Account{{"Alice", hashB, true, ""}, refused[0], {"carol", hashB, true, ""}, refused[1]}, next(t, calls)); diff != "" {
		t.Errorf("the other one's turn: %s", diff)
	}
	change := secret("carol", hashA, false, 3)
	if _, err := secrets.Update(t.Context(), change, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Account{{"Alice", hashB, true, ""}, refused[0], {"carol", hashA, false, ""}, refused[1]}, next(t, calls)); diff != "" {
		t.Error(diff)
	}
	text := log.String()
	for _, want := range []string{specs.StorageAccountName("broken"), "other characters", "user alice has one", "account of that name for itself", "does not belong to this Secret"} {
		if strings.Count(text, want) < 1 {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "CANARY") || strings.Contains(text, hashA) || strings.Contains(text, hashB) {
		t.Errorf("the log shows a hash:\n%s", text)
	}
	if n := strings.Count(text, specs.StorageAccountName("broken")); n != 1 {
		t.Errorf("the broken account is in the log %d times", n)
	}
	if shown := fmt.Sprintf("%v %+v %#v", want[0], want[0], want[0]); strings.Contains(shown, hashA) {
		t.Errorf("an account prints as %s", shown)
	}
}

// TestNoAccounts: that there are none is worth a call, too.
func TestNoAccounts(t *testing.T) {
	calls := collect(t, func(ctx context.Context, changed func([]Account)) error {
		return WatchAccounts(ctx, kubefake.New(), nil, changed)
	})
	if list := next(t, calls); len(list) != 0 {
		t.Errorf("got %v", list)
	}
}

func machine(name string, addresses ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: name}, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "192.0.2.9"})
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	return n
}

func addresses(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestNodes(t *testing.T) { synctest.Test(t, testNodes) } // on a clock of its own

func testNodes(t *testing.T) {
	client := kubefake.New(machine("b", "fd00::2", "10.0.0.2", "10.0.0.2"), machine("a", "::ffff:10.0.0.1"), machine("junk", "0.0.0.0", "10.0.0.0/8", "fe80::1%eth0", "127.0.0.1", "ff02::1"))
	calls := collect(t, func(ctx context.Context, changed func([]Node)) error {
		return WatchNodes(ctx, client, slog.New(slog.DiscardHandler), changed)
	})
	same := cmp.Comparer(func(x, y netip.Addr) bool { return x == y })
	want := []Node{{"a", addresses("10.0.0.1")}, {"b", addresses("10.0.0.2", "fd00::2")}, {"junk", nil}}
	if diff := cmp.Diff(want, next(t, calls), same); diff != "" {
		t.Error(diff)
	}
	// A report that changes nothing of ours is no call: the next one is that of the change after it.
	report := machine("a", "10.0.0.1")
	report.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}}
	nodes := client.CoreV1().Nodes()
	if _, err := nodes.Update(t.Context(), report, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * pause) // so that the two would be two calls
	synctest.Wait()
	if err := nodes.Delete(t.Context(), "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Node{want[0], want[2]}, next(t, calls), same); diff != "" {
		t.Error(diff)
	}
}

// TestManyChangesAreFewCalls: eighty nodes that come one after the other do not make eighty calls, but two in a second.
func TestManyChangesAreFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := kubefake.New()
		calls := collect(t, func(ctx context.Context, changed func([]Node)) error { return WatchNodes(ctx, client, nil, changed) })
		next(t, calls)
		began := time.Now()
		for i := range 80 {
			if _, err := client.CoreV1().Nodes().Create(t.Context(), machine(fmt.Sprint("n", i), fmt.Sprintf("10.0.1.%d", i)), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pause / 20)
		}
		count := 0
		until(t, calls, func(list []Node) bool { count++; return len(list) == 80 })
		if most := 1 + int(time.Since(began)/pause); count > most {
			t.Errorf("%d calls in %s, want at most %d", count, time.Since(began), most)
		}
	})
}
