package specs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
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

// Options is what pods need that no submission says.
type Options struct {
	TaskInit   string                   // the image that makes personal folders; "" for [PersonalFolderImage]
	AgentTypes map[pai.StorageType]bool // what some worker's agent says that it can or cannot mount
}

// RoleJob is the Indexed Job that runs a task role. The record, as Kubernetes returned it, owns the Job: they go together.
func RoleJob(record *corev1.Secret, s pai.Submission, role pai.TaskRole, o Options) *batchv1.Job {
	notes := annotations(s.ID())
	notes[RoleAnnotation] = role.Name
	own := maps.Clone(notes)
	if role.MinSucceededInstances > 0 {
		own[DecidesAnnotation] = "true"
	}
	if role.MinFailedInstances == 0 {
		own[TolerantAnnotation] = "true"
	}
	instances, retries := int32(role.Instances), int32(role.Retries)
	mode := batchv1.IndexedCompletion
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: record.Namespace, Name: RoleJobName(s.ID(), role.Name, 0),
			Labels: labels(s.ID()), Annotations: own,
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
				Spec:       pod(s, role, o),
			},
		},
	}
}

// Again is the Job of a later attempt at a job: the same as before under another name.
func Again(before *batchv1.Job, id pai.JobID, attempt int) *batchv1.Job {
	notes := maps.Clone(before.Annotations)
	delete(notes, StoppedAnnotation)
	delete(notes, TagsAnnotation)
	delete(notes, AsideAnnotation)
	notes[AttemptAnnotation] = strconv.Itoa(attempt)
	next := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: before.Namespace, Name: RoleJobName(id, notes[RoleAnnotation], attempt),
			Labels: maps.Clone(before.Labels), Annotations: notes, OwnerReferences: before.OwnerReferences,
		},
		Spec: *before.Spec.DeepCopy(),
	}
	next.Spec.Selector, next.Spec.ManualSelector, next.Spec.Suspend = nil, nil, nil
	pods := &next.Spec.Template.ObjectMeta
	for label := range pods.Labels {
		if strings.HasSuffix(label, "controller-uid") || strings.HasSuffix(label, "job-name") {
			delete(pods.Labels, label) // Kubernetes' own
		}
	}
	pods.Annotations = maps.Clone(pods.Annotations)
	pods.Annotations[AttemptAnnotation] = strconv.Itoa(attempt)
	return next
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

func pod(s pai.Submission, role pai.TaskRole, o Options) corev1.PodSpec {
	no, seconds := false, int64(30)
	volumes, mounts := storageVolumes(s.Mounts)
	if role.SharedMemoryMB > 0 {
		volume, mount := sharedMemory(role.SharedMemoryMB)
		volumes, mounts = append(volumes, volume), append(mounts, mount)
	}
	command := []string{"/bin/sh", "-c", literal(script(role))}
	if role.SecretCommands {
		volume, mount := secretCommands(s, role)
		volumes, mounts = append(volumes, volume), append(mounts, mount)
		command = []string{"/bin/sh", mount.MountPath + "/" + commandsFile}
	}
	first, extra := personalFolders(s, role, o)
	spec := corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		AutomountServiceAccountToken:  &no,
		EnableServiceLinks:            &no,
		TerminationGracePeriodSeconds: &seconds,
		SecurityContext:               &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Volumes:                       append(volumes, extra...),
		InitContainers:                first,
		Affinity:                      ableWorkers(s.MountTypes, o),
		Containers: []corev1.Container{{
			Name:            ContainerName,
			Image:           role.Image,
			ImagePullPolicy: corev1.PullIfNotPresent,
			Command:         command,
			Env:             environment(s, role),
			Resources:       resources(role.Resources),
			VolumeMounts:    mounts,
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no},
		}},
	}
	if len(s.Spec.Registries) > 0 {
		spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: registrySecretName(s.ID())}}
	}
	return spec
}

// script is what the shell of a task runs.
func script(role pai.TaskRole) string { return strings.Join(role.Commands, "\n") }

// commandsFile is the file of commands that hold values of secrets.
const commandsFile = "commands"

// secretCommands brings commands to the task as a file, so that neither the pod nor the list of processes shows them.
func secretCommands(s pai.Submission, role pai.TaskRole) (corev1.Volume, corev1.VolumeMount) {
	mode := int32(0o444)
	volume := corev1.Volume{Name: "commands", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: RecordName(s.ID()), DefaultMode: &mode, Items: []corev1.KeyToPath{{Key: commandsField(role.Name), Path: commandsFile}},
	}}}
	return volume, corev1.VolumeMount{Name: "commands", MountPath: "/pai/commands", ReadOnly: true}
}

// Where the containers that run before a task find things.
const (
	identityDir  = "/pai/identity"
	identityFile = identityDir + "/owner"
	storagesDir  = "/pai/storages/"
)

// personalFolders are the containers that make the personal folders of a task's storages. The first has the task's own image and leaves a
// file that belongs to whom the task will run as. The second has our image and alone sees the storages whole.
func personalFolders(s pai.Submission, role pai.TaskRole, o Options) ([]corev1.Container, []corev1.Volume) {
	args := []string{"--user", string(s.Owner), "--identity", identityFile}
	identity := corev1.VolumeMount{Name: "identity", MountPath: identityDir}
	mounts := []corev1.VolumeMount{identity}
	for i, m := range s.Mounts {
		if m.SubPath == "" {
			continue
		}
		path, suffix := storagesDir+strconv.Itoa(i), ""
		if m.ReadOnly {
			suffix = ":ro"
		}
		args = append(args, "--storage", string(m.Storage)+"="+path+suffix)
		mounts = append(mounts, corev1.VolumeMount{Name: volumeName(i), MountPath: path, ReadOnly: m.ReadOnly})
	}
	if len(mounts) == 1 {
		return nil, nil
	}
	no, root := false, int64(0)
	small := corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: megabyte(64)}, Requests: corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewMilliQuantity(10, resource.DecimalSI), corev1.ResourceMemory: megabyte(16)}}
	size := megabyte(1)
	return []corev1.Container{
			{
				Name: "identity", Image: role.Image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command: []string{"/bin/sh", "-c", ": > " + identityFile}, VolumeMounts: []corev1.VolumeMount{identity}, Resources: small,
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no},
			},
			{
				Name: "folders", Image: cmp.Or(o.TaskInit, PersonalFolderImage), ImagePullPolicy: corev1.PullIfNotPresent,
				Args: args, VolumeMounts: mounts, Resources: small,
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, RunAsUser: &root, RunAsGroup: &root},
			},
		}, []corev1.Volume{{Name: "identity", VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &size}}}}
}

// ableWorkers keeps tasks off workers that cannot mount what they need. Where agents say what workers can mount, only those that can take
// the task; where none does, all but those that say they cannot.
func ableWorkers(types []pai.StorageType, o Options) *corev1.Affinity {
	var rules []corev1.NodeSelectorRequirement
	for _, t := range types {
		switch t {
		case pai.StorageNFS, pai.StorageSamba, pai.StorageAzureBlob, pai.StorageAzureFile, pai.StorageS3, pai.StorageDshuttle:
		default:
			continue // a directory of the worker, or nobody knows what it needs
		}
		rule := corev1.NodeSelectorRequirement{Key: CanMountLabel + string(t), Operator: corev1.NodeSelectorOpNotIn, Values: []string{"false"}}
		if o.AgentTypes[t] {
			rule.Operator, rule.Values = corev1.NodeSelectorOpIn, []string{"true"}
		}
		rules = append(rules, rule)
	}
	if len(rules) == 0 {
		return nil
	}
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: rules}}}}}
}

// literal keeps Kubernetes from expanding $(NAME) in s.
func literal(s string) string { return strings.ReplaceAll(s, "$", "$$") }

// storageVolumes makes one volume and one mount of each storage. Names of storages can be too long for names of volumes, hence numbers.
func storageVolumes(mounts []pai.Mount) ([]corev1.Volume, []corev1.VolumeMount) {
	var volumes []corev1.Volume
	var at []corev1.VolumeMount
	for i, m := range mounts {
		name := volumeName(i)
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: string(m.Storage), ReadOnly: m.ReadOnly},
		}})
		at = append(at, corev1.VolumeMount{Name: name, MountPath: m.Path, SubPath: m.SubPath, ReadOnly: m.ReadOnly})
	}
	return volumes, at
}

func volumeName(i int) string { return "storage-" + strconv.Itoa(i) }

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

// ParseTags reads [TagsAnnotation].
func ParseTags(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var tags []string
	if err := json.Unmarshal([]byte(text), &tags); err != nil {
		return nil, fmt.Errorf("%s: %w", TagsAnnotation, err)
	}
	return tags, nil
}
