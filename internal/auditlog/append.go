package auditlog

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	pai "github.com/pai-storage/pai-storage"
)

// writerLabel is on ConfigMaps that anybody with a kubeconfig appends to. A server has its own ones, so that servers never conflict.
const (
	writerLabel      = "pai.storage/audit-writer"
	kubeconfigWriter = "kubeconfig"
)

// Append adds entries to the main trail, for those who do something with a kubeconfig. It makes the namespace if there is none yet. It needs the right
// to list, create and update ConfigMaps there.
func Append(ctx context.Context, client kubernetes.Interface, namespace string, entries ...pai.AuditEntry) error {
	var text bytes.Buffer
	for _, e := range entries {
		l, err := Line(e)
		if err != nil {
			return err
		}
		text.Write(l)
	}
	maps := client.CoreV1().ConfigMaps(namespace)
	for range 10 { // somebody else may append at the same time
		list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: Label + "=" + Main + "," + writerLabel + "=" + kubeconfigWriter})
		if err != nil {
			return err
		}
		newest := corev1.ConfigMap{}
		if len(list.Items) > 0 {
			newest = slices.MaxFunc(list.Items, func(a, b corev1.ConfigMap) int { return cmp.Compare(a.Name, b.Name) })
		}
		if written := len(newest.Data[Field]); written > 0 && written+text.Len() <= ChunkBytes {
			newest.Data[Field] += text.String()
			_, err = maps.Update(ctx, &newest, metav1.UpdateOptions{})
		} else {
			err = create(ctx, client, namespace, text.String())
		}
		if err == nil || !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return errors.New("others write to it all the time")
}

func create(ctx context.Context, client kubernetes.Interface, namespace, text string) error {
	m := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name(time.Now()), Labels: map[string]string{Label: Main, writerLabel: kubeconfigWriter}},
		Data:       map[string]string{Field: text},
	}
	_, err := client.CoreV1().ConfigMaps(namespace).Create(ctx, m, metav1.CreateOptions{})
	if !apierrors.IsNotFound(err) { // it is the namespace that is not there
		return err
	}
	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make the namespace %s: %w", namespace, err)
	}
	_, err = client.CoreV1().ConfigMaps(namespace).Create(ctx, m, metav1.CreateOptions{})
	return err
}
