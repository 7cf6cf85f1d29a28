// Package kubeapply brings manifests into a cluster by server-side apply: what is there already stays,
// what differs is changed, and fields that somebody else manages are that one's.
//
// Use it where "kubectl apply --server-side" would be used, for the manifests that the program carries.
package kubeapply

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// Apply applies the documents of a YAML text in their order, in the name of manager. It stops at the first
// error, which names the object.
func Apply(ctx context.Context, cfg *rest.Config, manager string, manifest []byte) error {
	objects, err := Decode(manifest)
	if err != nil {
		return err
	}
	return ApplyObjects(ctx, cfg, manager, objects)
}

// ApplyObjects is [Apply] for objects.
func ApplyObjects(ctx context.Context, cfg *rest.Config, manager string, objects []*unstructured.Unstructured) error {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	mapper, err := newMapper(cfg)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := applyOne(ctx, client, mapper, manager, o); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// Decode splits a YAML text into its objects.
func Decode(manifest []byte) ([]*unstructured.Unstructured, error) {
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	var objects []*unstructured.Unstructured
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &o.Object); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

func newMapper(cfg *rest.Config) (meta.RESTMapper, error) {
	client, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	groups, err := restmapper.GetAPIGroupResources(client)
	if err != nil {
		return nil, fmt.Errorf("apply: what the cluster serves: %w", err)
	}
	return restmapper.NewDiscoveryRESTMapper(groups), nil
}

func applyOne(ctx context.Context, client dynamic.Interface, mapper meta.RESTMapper, manager string, o *unstructured.Unstructured) error {
	kind := o.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	var target dynamic.ResourceInterface = client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		target = client.Resource(mapping.Resource).Namespace(o.GetNamespace())
	}
	_, err = target.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: true})
	return err
}
