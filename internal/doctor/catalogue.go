package doctor

import (
	"fmt"
	"slices"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// Entry is a reason of the catalogue, as docs/errors.md describes it.
type Entry struct {
	Code  string
	Title string // a few words
	Cause string // what it means, in a sentence or two
	Fix   string // what to do about it, in words that hold for every case
	Who   pai.Fixer
	Slow  string // why it can take more than 15 seconds until it is seen; "" when it does not
}

// finding makes a finding of the entry.
func (e *Entry) finding(object, fix, format string, args ...any) pai.Finding {
	return pai.Finding{Code: e.Code, Object: object, Message: fmt.Sprintf(format, args...), Fix: fix, Who: e.Who}
}

// noEventYet is why some faults take their time: mount.nfs tries for two minutes before it says anything.
const noEventYet = "The worker says nothing for two minutes, because mount.nfs tries again so long; the REST server asks the file server itself after 10 seconds."

// The catalogue: claims and volumes.
var (
	claimMissing = entry("STO-101", "storage is gone", "The claim of the storage does not exist (any more).",
		"Declare the storage again, or submit the job without it.", admin)
	claimNoVolume = entry("STO-102", "no volume", "The storage's claim waits for a volume, and there is none that it could take.",
		"Create the PersistentVolume, or declare the storage with paictl storage add.", admin)
	claimSelector = entry("STO-103", "no volume has the labels", "The claim selects volumes by labels, and no volume has them.",
		"Give the volume the labels that the claim selects, or correct the claim's selector.", admin)
	claimSize = entry("STO-104", "volume too small", "The volume that comes closest is smaller than the claim asks for.",
		"Raise the volume's capacity (for file servers it is a mere number), or declare the claim anew with less.", admin)
	claimModes = entry("STO-105", "access modes do not fit", "The volume that comes closest does not allow the access mode that the claim asks for.",
		"Add the access mode to the volume.", admin)
	claimClass = entry("STO-106", "storage class does not fit", "The claim and the volume that comes closest have different storage classes, or the class does not exist.",
		"Give both the same storageClassName; \"\" means none.", admin)
	claimReleased = entry("STO-107", "volume was released", "The volume belonged to a claim that was deleted. Kubernetes keeps it from others until somebody lets it go.",
		"Remove claimRef from the volume.", admin)
	claimTaken = entry("STO-108", "volume belongs to another claim", "The volume fits, and belongs to another claim.",
		"Declare another volume: one volume serves one claim.", admin)
	claimTerminating = entry("STO-109", "storage is being removed", "The claim was deleted and goes when the last job that uses it ends. New tasks cannot mount it.",
		"Submit the job without it, or wait and declare the storage again.", admin)
	claimLost = entry("STO-110", "volume is gone", "The claim was bound to a volume that does not exist any more.",
		"Create the volume again under its old name, or declare the storage again.", admin)
	claimVolumeMissing = entry("STO-111", "volume does not exist", "The claim names a volume that does not exist.",
		"Create the volume, or take volumeName out of the claim.", admin)
	claimSoon = entry("STO-112", "about to be bound", "Claim and volume fit, and Kubernetes is about to bind them.",
		"Wait a few seconds.", nobody)
	claimProvision = entry("STO-113", "provisioning fails", "The storage class makes volumes by itself, and it fails to make this one.",
		"See what its provisioner says.", admin)
	claimShare = entry("STO-114", "label share is neither true nor false", "Whoever wrote the label most likely wants a personal storage, and shared by mistake it would show everybody everything. So nobody sees it, and jobs with it are refused.",
		"Give the claim the label share: \"false\" for a personal storage, \"true\" or none for a shared one.", admin)
	claimDevice = entry("STO-115", "raw device", "The storage is a raw device (volumeMode Block), without a file system that jobs could mount. Jobs with it are refused.",
		"Declare claim and volume anew with volumeMode: Filesystem.", admin)
	claimVolumeMode = entry("STO-116", "volume mode does not fit", "Of the claim and the volume that comes closest, one is a raw device (volumeMode Block) and one a file system.",
		"Give both the same volumeMode: Filesystem.", admin)
	claimStuck = entry("STO-117", "not bound, and nothing is seen in the way", "Claim and volume fit, and Kubernetes has not bound them within a minute.",
		"See what Kubernetes says (kubectl describe pvc), and whether kube-controller-manager runs.", admin)
	claimDefaultClass = entry("STO-118", "default storage class", "The claim names no storage class, so that Kubernetes gave it the default one; the volume has none, so they do not come together.",
		"Declare the claim anew with storageClassName: \"\".", admin)
	claimVolumeFailed = entry("STO-119", "volume has failed", "Kubernetes could not clean or delete the volume that comes closest, and gives it to nobody.",
		"See why (kubectl describe pv), and declare it anew.", admin)
	claimVolumeLeaves = entry("STO-120", "volume is being deleted", "The volume that comes closest was deleted, and goes when nothing keeps it any more.",
		"Declare another volume.", admin)
	claimFirstJob = entry("STO-121", "binds with the first job", "The storage class binds a volume with the first job that mounts the storage. Nothing is wrong.",
		"Submit a job.", nobody)
)

// The catalogue: workers.
var (
	helperNFS = entry("STO-201", "mount.nfs is missing", "The worker has no mount.nfs, so it cannot mount NFS storages.",
		"Install nfs-common (Debian, Ubuntu) or nfs-utils on the worker.", admin)
	helperSMB = entry("STO-202", "mount.cifs is missing", "The worker has no mount.cifs, so it cannot mount Samba storages.",
		"Install cifs-utils on the worker.", admin)
	helperBlob = entry("STO-203", "blobfuse is missing", "The worker has no blobfuse, so its FlexVolume driver cannot mount Azure Blob storages.",
		"Install blobfuse and fuse on the worker.", admin)
	flexMissing = entry("STO-204", "FlexVolume driver is missing", "The worker's kubelet has no FlexVolume driver of the name that the volume asks for.",
		"Start the node agent, which brings microsoft.com/smb and azure/blobfuse; install any other into the kubelet's plugin directory on every worker.", admin)
	csiMissing = entry("STO-205", "CSI driver is not registered", "No CSI driver of the name that the volume asks for has registered with the worker's kubelet.",
		"Start the node agent, which brings csi.pai.storage, and file.csi.azure.com where Azure's own is not; install any other driver, or see why its pod on that worker does not run.", admin)
	noNodeMounts = entry("STO-206", "no worker can mount", "By the labels pai.storage/can-mount-TYPE, no worker can mount all of the job's storages.",
		"Install what is missing on a worker.", admin)
	kernelModule = entry("STO-207", "kernel cannot mount it", "The worker's kernel has no such file system, and no module that brings it.",
		"Load the kernel module, or install the package with the kernel's modules.", admin)
	volumeElsewhere = entry("STO-208", "volume is on another worker", "The volume says on which workers it can be used, and none of them can take the task.",
		"Correct the volume's nodeAffinity, or bring that worker back.", admin)
	helperOther = entry("STO-209", "mount helper is missing", "The worker lacks the program that mounts this kind of file system.",
		"Install the package that has it on the worker.", admin)
	noFUSE = entry("STO-210", "no FUSE", "The worker's kernel has no FUSE, so it cannot mount object stores.",
		"Load the kernel module fuse, or install the package with the kernel's modules.", admin)
	agentSilent = entry("STO-211", "node agent is silent", "The worker's agent has not reported for a while, so what is known about the worker is old.",
		"See why its pod on that worker does not run: paictl service status.", admin)
)

// The catalogue: file servers.
var (
	serverTimeout = entry("STO-301", "server does not answer", "The file server did not answer in time: it is down, or something on the way drops the packets.",
		"Bring the server back, or mend the network or firewall. Tasks go on by themselves.", admin).slow(noEventYet)
	serverRefused = entry("STO-302", "server refuses connections", "The server's machine answers, and nothing listens at the storage's port: the file service is stopped.",
		"Start the file service. Tasks go on by themselves.", admin).slow(noEventYet)
	serverUnreachable = entry("STO-303", "server is unreachable", "There is no way to the server: no route, or nobody has the address.",
		"Correct the address in the volume, or mend the network.", admin).slow(noEventYet)
	serverName = entry("STO-304", "server's name is not known", "The server's name does not resolve to an address.",
		"Correct the name in the volume, or DNS on the workers.", admin)
	exportMissing = entry("STO-305", "export not found", "The server answers, and has no such export. Some servers, NFS-Ganesha among them, say the same to clients that may not use an export.",
		"Correct the path in the volume, or export it on the server, to this worker, too.", admin)
	accessDenied = entry("STO-306", "server denies access", "The server has the export and does not let this worker mount it.",
		"Add the worker to the clients of the export.", admin)
	shareMissing = entry("STO-307", "share not found", "The server answers, and has no such share, container or bucket.",
		"Correct the share in the volume, or create it on the server.", admin)
	wrongPassword = entry("STO-308", "wrong password", "The server does not accept the user name and password, or the key, of the storage's Secret.",
		"Correct the Secret, or the account on the server.", admin)
	staleHandle = entry("STO-309", "stale file handle", "What was mounted does not exist any more on the server: it was replaced, or the server lost its file handles.",
		"End the jobs on that worker that mount it, so that it is mounted anew.", admin)
	protocolVersion = entry("STO-310", "protocol version not supported", "The server does not speak the version of the protocol that the volume's mount options ask for.",
		"Correct nfsvers= or vers= in the volume's mount options.", admin)
	badOption = entry("STO-311", "bad mount option", "The worker does not know a mount option of the volume, or not in this combination.",
		"Correct the volume's mountOptions.", admin)
	serverFault = entry("STO-312", "input/output error", "The server answers reads or writes with an error of its own.",
		"Look into the server's log and its disks.", admin)
	storageFull = entry("STO-313", "storage is full", "There is no space left in the storage, or the quota is used up.",
		"Delete what is not needed, or enlarge the storage.", admin)
	mountDead = entry("STO-314", "mount is broken", "The process that serves the mount of an object store on the worker is gone. Who uses the mount gets errors; other mounts are as before.",
		"End the tasks on that worker that use it, so that it is mounted anew. Files that were not uploaded are kept on the worker.", admin)
	uploadsFail = entry("STO-315", "uploads fail", "A mount of an object store on the worker holds files that the store does not take. They wait on the worker's disk, and are tried again and again.",
		"Mend what the store says. Do not switch the worker off before they are uploaded.", admin)
	filesLost = entry("STO-316", "files were not uploaded", "A mount of an object store on the worker ended with files that it had not uploaded. Tasks and other mounts are well; the files are kept on the worker.",
		"Look at them on the worker below /var/lib/pai-storage/lost, copy what is needed into the storage, and remove the directory.", admin)
)

// The catalogue: folders and permissions.
var (
	folderCreate = entry("STO-401", "personal folder cannot be created", "The user's folder does not exist yet, and the server does not let the worker create it.",
		"Create the folder on the server and give it to the user, or let workers write to the export's root.", admin)
	folderDenied = entry("STO-402", "permission denied in the personal folder", "The user's folder belongs to somebody else than the task runs as.",
		"Change the folder's owner on the server, or run the task as its owner.", admin)
	folderKind = entry("STO-403", "personal folder is no folder", "In the place of the user's folder is a link or a file. It is not followed, because it could lead into other users' folders.",
		"Remove it on the server.", admin)
	folderCase = entry("STO-404", "two users, one folder", "The file server does not tell upper from lower case, and the folder belongs to a user whose name differs only in that.",
		"Rename one of the users.", admin)
	folderAbsent = entry("STO-405", "personal folder does not exist", "The storage is read-only, so the user's folder cannot be created by a job.",
		"Create the folder on the server.", admin)
	readOnly = entry("STO-406", "server allows only reading", "The volume says that the storage can be written, and the server exports it read-only.",
		"Set readOnly in the volume's source, or let the server allow writing.", admin)
	pathMissing = entry("STO-407", "directory does not exist", "The directory that the volume names does not exist on the worker.",
		"Create it on the worker, or correct the volume.", admin)
	subPath = entry("STO-408", "folder cannot be used", "The worker cannot use the folder of the storage that the task mounts.",
		"See what is in its place on the server.", admin)
)

// The catalogue: Secrets.
var (
	secretMissing = entry("STO-501", "Secret is missing", "The Secret with which the storage is mounted does not exist.",
		"Create the Secret.", admin)
	secretKey = entry("STO-502", "Secret lacks a key", "The Secret with which the storage is mounted lacks a key that the driver needs.",
		"Add the key to the Secret.", admin)
	secretType = entry("STO-503", "Secret has the wrong type", "A FlexVolume driver takes only Secrets whose type is the driver's name.",
		"Create the Secret anew with that type.", admin)
	mountOther = entry("STO-999", "mounting fails", "The worker cannot mount the storage, for a reason that is not in this catalogue. Its own words are the evidence.",
		"Read the evidence.", admin)
)

// The catalogue: refused submissions, which the guard speaks of.
var (
	_ = entry(pai.RefusedVirtualCluster, "virtual cluster not allowed", "No group of the user may use the virtual cluster that the job names. The job is refused when it is submitted.",
		"Choose another virtual cluster, or ask an administrator.", user)
	_ = entry(pai.RefusedStorageDenied, "storage not granted", "No group of the user is granted the storage. The job is refused when it is submitted; the message lists what the user may use.",
		"Choose another storage, or ask an administrator to grant it.", user)
	_ = entry(pai.RefusedStorageUnknown, "no such storage", "There is no storage of that name. The job is refused when it is submitted.",
		"Correct the name in extras.storages; see: paictl storage list.", user)
)

// LacksWorkers reports whether a code of the catalogue is that tasks find no worker.
func LacksWorkers(code string) bool { return strings.HasPrefix(code, "JOB-2") }

// The catalogue: workers and resources for tasks.
var (
	noRoom = entry("JOB-201", "workers are busy", "Workers are large enough for the task, and other tasks use too much of them now.",
		"Wait until others end, or ask for less.", nobody)
	heldUp = entry("JOB-210", "workers are held up", "Workers are large enough for the task, and what it needs of them is held by tasks that cannot go on themselves: they do not end with time.",
		"Mend what those tasks wait for, or end their jobs: paictl job explain, paictl job stop.", admin)
	tooLarge = entry("JOB-202", "no worker is large enough", "No worker has as much as the task asks for, even when it is empty.",
		"Ask for less in resourcePerInstance, or add a larger worker.", user)
	noTakers = entry("JOB-203", "no worker takes tasks", "Workers are set to take no tasks (cordoned), or have taints that the task does not tolerate.",
		"Let workers take tasks again: kubectl uncordon NODE.", admin)
	noReady = entry("JOB-204", "no worker is ready", "There is no worker, or none is ready.",
		"Bring workers back: kubectl describe node NODE says what is wrong.", admin)
	quota = entry("JOB-205", "quota used up", "The quota of the jobs namespace does not allow more.",
		"Wait until other jobs end, or raise the quota.", admin)
	refusedPod = entry("JOB-206", "task is refused", "An admission rule of the cluster refuses the task.",
		"Change the rule, or the job.", admin)
	noPlace = entry("JOB-207", "no worker fits", "The scheduler finds no worker for the task, for several reasons at once.",
		"Read the evidence.", admin)
	newTask = entry("JOB-208", "just submitted", "Nothing has looked at the task yet.",
		"Wait a few seconds.", nobody)
	noScheduler = entry("JOB-209", "nobody makes or places tasks", "Kubernetes' controllers or its scheduler did not react to the task.",
		"See whether kube-controller-manager and kube-scheduler run.", admin).slow("Kubernetes gets 20 seconds to react before this is said.")
)

// The catalogue: images.
var (
	imageMissing = entry("JOB-301", "image not found", "The registry does not have the container image.",
		"Correct the image's name in prerequisites.", user)
	imageRegistry = entry("JOB-302", "registry does not answer", "The worker cannot reach the registry of the container image.",
		"Correct the registry's name, or mend the worker's network.", user)
	imageDenied = entry("JOB-303", "image access denied", "The registry does not let the worker pull the image.",
		"Give the right user and password in the prerequisite's auth.", user)
	imageName = entry("JOB-304", "invalid image name", "What the prerequisite gives as uri is no name of an image.",
		"Correct the image's name in prerequisites.", user)
	imagePulling = entry("JOB-305", "image is being pulled", "The worker fetches the container image.",
		"Wait; large images take minutes the first time.", nobody)
)

// The catalogue: running and ending.
var (
	nodeDown = entry("JOB-401", "worker does not answer", "The task's worker has not reported for a while.",
		"Bring the worker back: kubectl describe node NODE says since when.", admin).slow("Kubernetes gives a worker 40 to 50 seconds before it calls it not ready.")
	noCommand = entry("JOB-402", "task cannot be started", "The image lacks the shell that runs the task's commands, or they cannot be run for another reason.",
		"Use an image with /bin/sh.", user)
	starting = entry("JOB-403", "worker prepares the task", "The worker has the task and prepares it: storages, network, image.",
		"Wait a few seconds.", nobody)
	evicted = entry("JOB-404", "task was evicted", "The worker ran out of memory or disk and ended the task.",
		"Ask for as much as the task really needs in resourcePerInstance.", user)
	outOfMemory = entry("JOB-405", "out of memory", "The task used more memory than it asked for and was killed.",
		"Raise memoryMB in resourcePerInstance, or use less.", user)
	ownFault = entry("JOB-406", "the task's command failed", "The commands of the task ended with an exit code that is not 0.",
		"Read the task's log: paictl job logs JOB.", user)
	halfMade = entry("JOB-407", "submission was cut off", "The REST server ended while it made the job.",
		"Submit it again under another name.", user)
	notEnding = entry("JOB-408", "task does not end", "The task was told to end and is still there: usually it waits for a file server that does not answer.",
		"Bring the file server back; or take the worker out and delete the pod with --force.", admin).slow("A task has 30 seconds to end by itself.")
	retrying = entry("JOB-409", "about to be tried again", "The task failed and is tried again after a pause that grows.",
		"Wait, or stop the job.", nobody)
	network = entry("JOB-410", "worker's network fails", "The worker cannot make the task's network.",
		"See what the worker's CNI plugin says.", admin)
	badSecret = entry("JOB-411", "job's Secret is missing", "A Secret that belongs to the job itself was deleted.",
		"Submit the job again under another name.", user)
)

// Who can mend.
const (
	admin  = pai.FixedByAdministrator
	user   = pai.FixedByUser
	nobody = pai.FixedByWaiting
)

var entries []*Entry

func entry(code, title, cause, fix string, who pai.Fixer) *Entry {
	e := &Entry{Code: code, Title: title, Cause: cause, Fix: fix, Who: who}
	entries = append(entries, e)
	return e
}

func (e *Entry) slow(why string) *Entry {
	e.Slow = why
	return e
}

// Catalogue is every reason, sorted by code with those of storages first.
func Catalogue() []Entry {
	var list []Entry
	for _, e := range entries {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b Entry) int {
		if first := strings.Compare(b.Code[:3], a.Code[:3]); first != 0 {
			return first
		}
		return strings.Compare(a.Code, b.Code)
	})
	return list
}
