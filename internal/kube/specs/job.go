package specs

import (
	"fmt"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
)

// ContainerName is the name of the container that runs a task.
const ContainerName = "task"

// GPUResource is the extended resource that GPUs are.
const GPUResource corev1.ResourceName = "nvidia.com/gpu"

// RoleJob is the Indexed Job that runs a task role. The record, as Kubernetes returned it, owns the Job: they go together.
func RoleJob(record *corev1.Secret, s pai.Submission, role pai.TaskRole) *batchv1.Job {
	notes := annotations(s.ID())
	notes[RoleAnnotation] = role.Name
	instances, retries := int32(role.Instances), int32(role.Retries)
	mode := batchv1.IndexedCompletion
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: record.Namespace, Name: RoleJobName(s.ID(), role.Name),
			Labels: labels(s.ID()), Annotations: notes,
			OwnerReferences: []metav1.OwnerReference{ownedBy(record)},
		},
		Spec: batchv1.JobSpec{
			CompletionMode:       &mode,
			Completions:          &instances,
			Parallelism:          &instances,
			BackoffLimitPerIndex: &retries,
			MaxFailedIndexes:     maxFailed(role),
			SuccessPolicy:        successPolicy(role),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels(s.ID()), Annotations: notes},
				Spec:       pod(s, role),
			},
		},
	}
}

func ownedBy(record *corev1.Secret) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Secret", Name: record.Name, UID: record.UID, Controller: &yes}
}

// maxFailed is how many tasks may fail before the role does.
func maxFailed(role pai.TaskRole) *int32 {
	if role.MinFailedInstances == 0 {
		return nil
	}
	most := int32(min(role.MinFailedInstances-1, role.Instances))
	return &most
}

func successPolicy(role pai.TaskRole) *batchv1.SuccessPolicy {
	if role.MinSucceededInstances == 0 || role.MinSucceededInstances >= role.Instances {
		return nil
	}
	enough := int32(role.MinSucceededInstances)
	return &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededCount: &enough}}}
}

func pod(s pai.Submission, role pai.TaskRole) corev1.PodSpec {
	no, seconds := false, int64(30)
	volumes, mounts := storageVolumes(s.Mounts)
	if role.SharedMemoryMB > 0 {
		volume, mount := sharedMemory(role.SharedMemoryMB)
		volumes, mounts = append(volumes, volume), append(mounts, mount)
	}
	return corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		AutomountServiceAccountToken:  &no,
		EnableServiceLinks:            &no,
		TerminationGracePeriodSeconds: &seconds,
		SecurityContext:               &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Volumes:                       volumes,
		Containers: []corev1.Container{{
			Name:            ContainerName,
			Image:           role.Image,
			ImagePullPolicy: corev1.PullIfNotPresent,
			Command:         []string{"/bin/sh", "-c", literal(strings.Join(role.Commands, "\n"))},
			Env:             environment(s, role),
			Resources:       resources(role.Resources),
			VolumeMounts:    mounts,
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no},
		}},
	}
}

// literal keeps Kubernetes from expanding $(NAME) in s.
func literal(s string) string { return strings.ReplaceAll(s, "$", "$$") }

// storageVolumes makes one volume and one mount of each storage. Names of storages can be too long for names of volumes, hence numbers.
func storageVolumes(mounts []pai.Mount) ([]corev1.Volume, []corev1.VolumeMount) {
	var volumes []corev1.Volume
	var at []corev1.VolumeMount
	for i, m := range mounts {
		name := "storage-" + strconv.Itoa(i)
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: string(m.Storage), ReadOnly: m.ReadOnly},
		}})
		at = append(at, corev1.VolumeMount{Name: name, MountPath: m.Path, SubPath: m.SubPath, ReadOnly: m.ReadOnly})
	}
	return volumes, at
}

func sharedMemory(megabytes int) (corev1.Volume, corev1.VolumeMount) {
	size := megabyte(megabytes)
	volume := corev1.Volume{Name: "shm", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &size},
	}}
	return volume, corev1.VolumeMount{Name: "shm", MountPath: "/dev/shm"}
}

func resources(r pai.Resources) corev1.ResourceRequirements {
	list := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(r.CPU), resource.DecimalSI),
		corev1.ResourceMemory: megabyte(r.MemoryMB),
	}
	if r.GPU > 0 {
		list[GPUResource] = *resource.NewQuantity(int64(r.GPU), resource.DecimalSI)
	}
	return corev1.ResourceRequirements{Requests: list, Limits: list}
}

func megabyte(n int) resource.Quantity { return *resource.NewQuantity(int64(n)<<20, resource.BinarySI) }

// environment is what the original tells its tasks about their job.
func environment(s pai.Submission, role pai.TaskRole) []corev1.EnvVar {
	total, names := 0, []string{}
	for _, r := range s.Spec.TaskRoles {
		total += r.Instances
		names = append(names, r.Name)
	}
	set := func(name, value string) corev1.EnvVar { return corev1.EnvVar{Name: name, Value: literal(value)} }
	index := func(name string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{
			FieldPath: "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}}
	}
	count, list := strconv.Itoa(len(names)), strings.Join(names, ",")
	env := []corev1.EnvVar{
		set("PAI_USER_NAME", string(s.Owner)),
		set("PAI_JOB_NAME", string(s.Spec.Name)),
		set("PAI_JOB_VC_NAME", s.VirtualCluster),
		set("PAI_JOB_TASK_COUNT", strconv.Itoa(total)),
		set("PAI_JOB_TASK_ROLE_COUNT", count),
		set("PAI_JOB_TASK_ROLE_LIST", list),
		set("PAI_TASK_ROLE_COUNT", count),
		set("PAI_TASK_ROLE_LIST", list),
		set("PAI_CURRENT_TASK_ROLE_NAME", role.Name),
		set("PAI_CURRENT_TASK_ROLE_TASK_COUNT", strconv.Itoa(role.Instances)),
		index("PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX"),
		index("PAI_TASK_INDEX"),
	}
	for _, r := range s.Spec.TaskRoles {
		env = append(env,
			set("PAI_TASK_ROLE_TASK_COUNT_"+r.Name, strconv.Itoa(r.Instances)),
			set("PAI_RESOURCE_"+r.Name, fmt.Sprintf("%d,%d,%d,%d", r.Resources.GPU, r.Resources.CPU, r.Resources.MemoryMB, r.SharedMemoryMB)),
			set("PAI_MIN_FAILED_TASK_COUNT_"+r.Name, strconv.Itoa(r.MinFailedInstances)),
			set("PAI_MIN_SUCCEEDED_TASK_COUNT_"+r.Name, strconv.Itoa(r.MinSucceededInstances)))
	}
	return env
}

// RoleSize is a task role in a record.
type RoleSize struct {
	Name      string
	Instances int
}

func rolesText(roles []pai.TaskRole) string {
	var parts []string
	for _, r := range roles {
		parts = append(parts, r.Name+"="+strconv.Itoa(r.Instances))
	}
	return strings.Join(parts, ",")
}

// ParseRoles reads [RolesAnnotation].
func ParseRoles(text string) ([]RoleSize, error) {
	var out []RoleSize
	for part := range strings.SplitSeq(text, ",") {
		name, count, _ := strings.Cut(part, "=")
		n, err := strconv.Atoi(count)
		if name == "" || err != nil || n < 1 {
			return nil, fmt.Errorf("%s: %q is not name=instances", RolesAnnotation, part)
		}
		out = append(out, RoleSize{Name: name, Instances: n})
	}
	return out, nil
}
