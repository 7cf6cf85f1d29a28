package auditlog

import (
	"context"
	"errors"
	"fmt"
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
	var text []byte
	for _, e := range entries {
		l, err := Line(e)
		if err != nil {
			return err
		}
		if len(text) > 0 && len(text)+len(l) > ChunkBytes {
			if err := appendText(ctx, client, namespace, text); err != nil {
				return err
			}
			text = nil
		}
		text = append(text, l...)
	}
	if len(text) == 0 {
		return nil
	}
	return appendText(ctx, client, namespace, text)
}

// appendText adds lines to a ConfigMap that has room for them, the latest, or to a new one.
func appendText(ctx context.Context, client kubernetes.Interface, namespace string, text []byte) error {
	maps := client.CoreV1().ConfigMaps(namespace)
	for range 10 { // somebody else may append at the same time
		list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: Label + "=" + Main + "," + writerLabel + "=" + kubeconfigWriter})
		if err != nil {
			return err
		}
		newest := corev1.ConfigMap{}
		for _, m := range list.Items {
			room := len(m.Data[Field]) > 0 && len(m.Data[Field])+len(text) <= ChunkBytes
			// A full one of somebody whose clock is ahead would be the newest for long.
			if m.Name > newest.Name && (room || m.Name < Name(time.Now())) {
				newest = m
			}
		}
		if written := len(newest.Data[Field]); written > 0 && written+len(text) <= ChunkBytes {
			newest.Data[Field] += string(text)
			_, err = maps.Update(ctx, &newest, metav1.UpdateOptions{})
		} else {
			err = create(ctx, client, namespace, string(text))
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
