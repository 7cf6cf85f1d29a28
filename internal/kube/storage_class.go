package kube

import (
	"fmt"

	storagev1 "k8s.io/api/storage/v1"
)

// storageClass is what we keep of a StorageClass.
type storageClass struct {
	provisioner string
	waits       bool // it binds claims with the first pod that mounts them
	standard    bool // Kubernetes gives it to claims that do not name a class
}

// Annotations that make a class the one of claims that do not name any; the second is of old.
const (
	defaultClass     = "storageclass.kubernetes.io/is-default-class"
	defaultClassBeta = "storageclass.beta.kubernetes.io/is-default-class"
)

func parseStorageClass(obj any) (storageClass, error) {
	class, ok := obj.(*storagev1.StorageClass)
	if !ok {
		return storageClass{}, fmt.Errorf("expected a StorageClass, got %T", obj)
	}
	return storageClass{
		provisioner: class.Provisioner,
		waits:       class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer,
		standard:    class.Annotations[defaultClass] == "true" || class.Annotations[defaultClassBeta] == "true",
	}, nil
}

// noProvisioner is the provisioner of classes whose volumes people make.
const noProvisioner = "kubernetes.io/no-provisioner"

// provisions tells whether somebody makes volumes of the class.
func (c storageClass) provisions() bool { return c.provisioner != "" && c.provisioner != noProvisioner }
