package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// worker is about a task that has a worker and has not started there.
func (d *diagnosis) worker(t Task) {
	before := len(d.found)
	d.drivers(t)
	d.mounts(t)
	d.containers(t)
	d.sandbox(t)
	if len(d.found) == before && !d.checked(t) {
		d.silence(t)
	}
}

// node is about a worker that does not report.
func (d *diagnosis) node(t Task) {
	i := slices.IndexFunc(d.Nodes, func(n Node) bool { return n.Name == t.Node })
	switch {
	case i < 0 && len(d.Nodes) > 0:
		d.add(nodeDown.finding("node "+t.Node, "stop the job and submit it again", "node %s is not part of the cluster any more", t.Node), t.Name)
	case i >= 0 && !d.Nodes[i].Ready:
		n := d.Nodes[i]
		f := nodeDown.finding("node "+t.Node, "bring it back: kubectl describe node "+t.Node, "node %s does not answer", t.Node)
		f.Evidence, f.Since = n.Reason, n.Since
		d.add(f, t.Name)
	}
}

// drivers is about CSI drivers that the worker does not have. Kubernetes itself waits for them two minutes before it says anything.
func (d *diagnosis) drivers(t Task) {
	i := slices.IndexFunc(d.Nodes, func(n Node) bool { return n.Name == t.Node })
	if i < 0 || !d.Nodes[i].DriversSaid || (t.Sandbox != nil && *t.Sandbox) {
		return
	}
	for _, s := range d.Storages {
		if s.CSI && !slices.Contains(d.Nodes[i].Drivers, s.Driver) {
			d.add(noDriver(s, t.Node, s.Driver), t.Name)
		}
	}
}

// mounts is about what the worker says about mounting. Only the latest word on each volume counts.
func (d *diagnosis) mounts(t Task) {
	seen := map[string]bool{}
	events := slices.Clone(t.Events)
	slices.SortStableFunc(events, func(a, b Event) int { return b.Last.Compare(a.Last) })
	general := Event{}
	for _, e := range events {
		if !slices.Contains([]string{"FailedMount", "FailedAttachVolume", "FailedMapVolume"}, e.Reason) {
			continue
		}
		s, ok := d.storageOf(e.Message)
		if !ok {
			if general.Message == "" {
				general = e
			}
			continue
		}
		if seen[string(s.Name)] {
			continue
		}
		if strings.Contains(e.Message, "timed out waiting for the condition") || strings.Contains(e.Message, "context deadline exceeded") {
			if general.Message == "" {
				general = e
			}
			continue // says only that something else took too long
		}
		seen[string(s.Name)] = true
		f := mountFault(s, t.Node, e.Message)
		f.Evidence, f.Since = e.Message, e.Last
		if p, bad := d.probed(s, t.Node); bad && (s.Probe.Result == ProbeVersion || f.Code == mountOther.Code) {
			f = p // the worker gives up with words that say less
		}
		d.add(f, t.Name)
	}
	if len(seen) == 0 && general.Message != "" {
		d.unnamed(t, general)
	}
}

// unnamed is about a word on mounting that names no storage of the job, or says only that it takes too long.
func (d *diagnosis) unnamed(t Task, e Event) {
	if m := secretNotFound.FindStringSubmatch(e.Message); m != nil {
		f := badSecret.finding("secret "+m[1], "submit the job again under another name", "the Secret %s of the job does not exist", m[1])
		f.Evidence, f.Since = e.Message, e.Last
		d.add(f, t.Name)
		return
	}
	before := len(d.found)
	d.asked(t, sure, "")
	if len(d.found) > before {
		return
	}
	stuck := d.remote()
	for _, s := range d.Storages {
		if strings.Contains(e.Message, "unmounted volumes=[") && mentions(e.Message, s, d.Storages) {
			stuck = []Storage{s}
			break
		}
	}
	if len(stuck) == 0 {
		f := mountOther.finding("node "+t.Node, "the evidence is what the worker says", "node %s cannot mount the volumes of the task", t.Node)
		f.Evidence, f.Since = e.Message, e.Last
		d.add(f, t.Name)
		return
	}
	f := serverTimeout.finding(names(stuck), serverFix(stuck[0]), "node %s gets no answer in time when it mounts %s", t.Node, names(stuck))
	f.Evidence, f.Since = e.Message, e.Last
	d.add(f, t.Name)
}

// volumeNamed is how the worker names a volume in what it says.
var (
	volumeNamed    = regexp.MustCompile(`for volume "([^"]+)"`)
	unmounted      = regexp.MustCompile(`unmounted volumes=\[([^\]]*)\]`)
	secretNotFound = regexp.MustCompile(`secrets? "([^"]+)" not found`)
)

// storageOf finds the storage that a message is about, by the name of its volume.
func (d *diagnosis) storageOf(message string) (Storage, bool) {
	m := volumeNamed.FindStringSubmatch(message)
	if m == nil {
		if m = unmounted.FindStringSubmatch(message); m == nil {
			return Storage{}, false
		}
		return d.storageAt(strings.Fields(m[1]))
	}
	for _, s := range d.Storages {
		if s.Volume == m[1] {
			return s, true
		}
	}
	return d.storageAt([]string{m[1]})
}

// storageAt finds a storage by the name of its volume in the task: storage-N.
func (d *diagnosis) storageAt(names []string) (Storage, bool) {
	for _, name := range names {
		n, err := strconv.Atoi(strings.TrimPrefix(name, "storage-"))
		if err == nil && n >= 0 && n < len(d.Storages) && strings.HasPrefix(name, "storage-") {
			return d.Storages[n], true
		}
	}
	return Storage{}, false
}

func mentions(message string, s Storage, all []Storage) bool {
	m := unmounted.FindStringSubmatch(message)
	if m == nil {
		return false
	}
	for i, other := range all {
		if other.Name == s.Name {
			return slices.Contains(strings.Fields(m[1]), "storage-"+strconv.Itoa(i))
		}
	}
	return false
}

// sign is a part of a message that tells the reason, for storages of some types.
type sign struct {
	pattern *regexp.Regexp
	only    func(Storage) bool // nil: any
	say     func(s Storage, node string, match []string) pai.Finding
}

func isNFS(s Storage) bool { return s.Type == pai.StorageNFS }
func isSMB(s Storage) bool { return s.Type == pai.StorageSamba || s.Type == pai.StorageAzureFile }

// signs are tried in their order: what names a cause exactly comes before words that several causes share.
var signs = []sign{
	on(`(?i)needs? (?:a |the )?/sbin/mount\.<type> helper|mount\.(nfs4?|cifs|smb3): (?:command )?not found|exec: "?mount\.(nfs4?|cifs)"?: executable file not found|you might need a /sbin/mount`, nil, helper),
	on(`(?i)blobfuse2?: (?:command )?not found|blobfuse2?"?: executable file not found|blobfuse is not installed`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(helperBlob, s, node, "install blobfuse and fuse on "+node, "blobfuse is missing")
	}),
	on(`no volume plugin matched|failed to get Plugin from volumeSpec`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return noFlexDriver(s, node)
	}),
	on(`driver name (\S+) not found in the list of registered CSI drivers`, nil, func(s Storage, node string, m []string) pai.Finding {
		return noDriver(s, node, m[1])
	}),
	on(`(?i)unknown filesystem type '?"?([a-z0-9]+)|No such device|not supported by kernel`, nil, func(s Storage, node string, m []string) pai.Finding {
		return cannot(kernelModule, s, node, "run on "+node+": modprobe "+module(s), "its kernel has no %s", module(s))
	}),
	on(`nodePublishSecretRef alone`, nil, func(s Storage, _ string, _ []string) pai.Finding {
		return secretMissing.finding("volume "+s.Volume, "declare the volume anew, with its Secret in nodeStageSecretRef",
			"%s cannot be mounted: its volume names a Secret in nodePublishSecretRef alone, and the driver takes that in nodeStageSecretRef", describe(s))
	}),
	on(`(?i)Cannot get secret of type|secret.*type.*(?:mismatch|does not match)`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return secretType.finding("secret "+s.Secret, "create it anew with the type "+driver(s), "%s cannot be mounted: its Secret %s has not the type %s", describe(s), s.Secret, driver(s))
	}),
	on(`(?i)secrets? "?([^"\s]+)"? not found|Couldn't get secret (\S+)`, nil, func(s Storage, node string, m []string) pai.Finding {
		name := secretName(s, m)
		return secretMissing.finding("secret "+name, "create it, with what the storage is mounted with", "%s cannot be mounted: its Secret %s does not exist", describe(s), name)
	}),
	on(`(?i)(?:lacks|missing|does not (?:contain|have)|no|empty|without) (?:the )?(?:key |field )?"?(username|password|accountname|accountkey|accesskey|secretkey|azurestorageaccountname|azurestorageaccountkey)"?|(?:key |field )?"?(username|password|accountname|accountkey|accesskey|secretkey|azurestorageaccountname|azurestorageaccountkey)"? (?:is |are )?(?:missing|not found|empty|not set|required)`, nil, lacksKey),
	on(`(?i)Stale (?:NFS )?file handle|ESTALE`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(staleHandle, s, node, "end the jobs on "+node+" that mount it, so that it is mounted anew", "what it had mounted is gone on %s (stale file handle)", where(s))
	}),
	on(`(?i)Failed to resolve server|could not resolve address|Name or service not known|Temporary failure in name resolution|no such host`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(serverName, s, node, "correct the server in volume "+s.Volume+", or DNS on "+node, "the name %s is not known there", s.Server)
	}),
	on(`(?i)Connection refused|mount error\(111\)`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(serverRefused, s, node, serverFix(s), "%s refuses the connection", where(s))
	}),
	on(`(?i)No route to host|Network is unreachable|mount error\((?:113|101)\)`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(serverUnreachable, s, node, "correct the address in volume "+s.Volume+", or mend the network", "there is no way to server %s", s.Server)
	}),
	on(`(?i)Connection timed out|Host is down|mount error\((?:110|112|115)\)|Operation now in progress`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(serverTimeout, s, node, serverFix(s), "%s does not answer", where(s))
	}),
	on(`(?i)requested NFS version or transport protocol is not supported|rpc\.statd is not running|Protocol not supported|vers=\S+ mount option|mount error\(95\)|Program not registered|Protocol not available`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(protocolVersion, s, node, "correct nfsvers= or vers= in the mount options of volume "+s.Volume, "%s does not speak the version of the protocol that the volume asks for", where(s))
	}),
	on(`(?i)incorrect mount option|invalid mount option|unknown (?:mount )?option|bad option|Invalid argument|mount error\(22\)`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(badOption, s, node, "correct mountOptions in volume "+s.Volume, "it does not accept the volume's mount options")
	}),
	on(`(?i)(container|bucket) (\S+) does not exist`, nil, func(s Storage, node string, m []string) pai.Finding {
		return cannot(shareMissing, s, node, "correct the "+m[1]+" in volume "+s.Volume+", or create it", "there is no %s %s", m[1], m[2])
	}),
	on(`(?i)authentication failed: (\S+) does not accept the key`, nil, func(s Storage, node string, m []string) pai.Finding {
		return cannot(wrongPassword, s, node, "correct the key in Secret "+s.Secret, "%s does not accept the key of Secret %s", m[1], s.Secret)
	}),
	on(`(?i)NT_STATUS_BAD_NETWORK_NAME|BAD_NETWORK_NAME|mount error\(2\)`, isSMB, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(shareMissing, s, node, "correct the share in volume "+s.Volume+", or create it on the server", "%s has no share %s", where(s), s.Export)
	}),
	on(`(?i)LOGON_FAILURE|mount error\((?:13|126|127|128)\)|Permission denied|Key has expired|wrong password`, isSMB, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(wrongPassword, s, node, "correct the Secret "+s.Secret+", or the account on the server", "%s does not accept the user and password of Secret %s", where(s), s.Secret)
	}),
	on(`(?i)access denied by server|Permission denied|Operation not permitted`, isNFS, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(accessDenied, s, node, "add "+node+" to the clients of the export on the server", "%s denies it access to %s", where(s), s.Export)
	}),
	on(`(?i)hostPath type check failed|path "[^"]*" does not exist|is not a directory|no such file or directory`, func(s Storage) bool { return s.HostLocal }, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(pathMissing, s, node, "create it on "+node, "directory %s does not exist there", s.Export)
	}),
	on(`(?i)No such file or directory`, isNFS, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(exportMissing, s, node, "correct the path in volume "+s.Volume+", or export it on the server", "%s has no export %s, or does not show it to this worker", where(s), s.Export)
	}),
	on(`(?i)Read-only file system`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(readOnly, s, node, "set readOnly in the source of volume "+s.Volume+", or let the server allow writing", "the server lets it only read, and the volume says that it may write")
	}),
	on(`(?i)No space left on device|Disk quota exceeded`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(storageFull, s, node, "delete what is not needed, or enlarge the storage", "there is no space left in it")
	}),
	on(`(?i)Input/output error|Remote I/O error|mount error\(5\)`, nil, func(s Storage, node string, _ []string) pai.Finding {
		return cannot(serverFault, s, node, "look into the log of "+where(s), "%s answers with an input/output error", where(s))
	}),
}

func on(pattern string, only func(Storage) bool, say func(Storage, string, []string) pai.Finding) sign {
	return sign{regexp.MustCompile(pattern), only, say}
}

// mountFault reads why a worker cannot mount a storage.
func mountFault(s Storage, node, message string) pai.Finding {
	for _, sign := range signs {
		if sign.only != nil && !sign.only(s) {
			continue
		}
		if m := sign.pattern.FindStringSubmatch(message); m != nil {
			return sign.say(s, node, m)
		}
	}
	return cannot(mountOther, s, node, "the evidence is what the worker says", "its own words are the evidence")
}

// cannot makes the sentence that most findings of workers are: node N cannot mount TYPE storage "S": WHY.
func cannot(e *Entry, s Storage, node, fix, format string, args ...any) pai.Finding {
	why := fmt.Sprintf(format, args...)
	return e.finding(object(e, s, node), fix, "node %s cannot mount %s: %s", node, describe(s), why)
}

// object is the thing at fault: what the fix changes.
func object(e *Entry, s Storage, node string) string {
	switch {
	case strings.HasPrefix(e.Code, "STO-2") || e == pathMissing || e == staleHandle:
		return "node " + node
	case e == wrongPassword:
		return "secret " + s.Secret
	case e == badOption || e == protocolVersion:
		return "volume " + s.Volume
	case strings.HasPrefix(e.Code, "STO-3") && s.Server != "" && (e == serverTimeout || e == serverRefused || e == serverUnreachable || e == serverName || e == serverFault):
		return "server " + s.Server
	}
	return "storage " + string(s.Name)
}

func helper(s Storage, node string, m []string) pai.Finding {
	kind := strings.Join(m[1:], "")
	switch {
	case isNFS(s) || strings.HasPrefix(kind, "nfs"):
		return cannot(helperNFS, s, node, "run on "+node+": apt-get install nfs-common", "mount.nfs is missing")
	case isSMB(s) || kind != "":
		return cannot(helperSMB, s, node, "run on "+node+": apt-get install cifs-utils", "mount.cifs is missing")
	}
	return cannot(helperOther, s, node, "install the package that has it on "+node, "the program that mounts it is missing")
}

func lacksKey(s Storage, node string, m []string) pai.Finding {
	key := strings.Join(m[1:], "")
	if s.Secret == "" {
		return secretMissing.finding("volume "+s.Volume, "declare the volume anew, with a Secret",
			"%s cannot be mounted: its volume names no Secret, which has to have the key %s", describe(s), key)
	}
	return secretKey.finding("secret "+s.Secret, "add the key "+key+" to it", "%s cannot be mounted: its Secret %s lacks the key %s", describe(s), s.Secret, key)
}

func secretName(s Storage, m []string) string {
	if s.Secret != "" {
		return s.Secret
	}
	return strings.Trim(strings.Join(m[1:], ""), `"`)
}

func driver(s Storage) string {
	if s.Driver == "" {
		return "for it"
	}
	return s.Driver
}

// module is the kernel's name of what mounts the storage.
func module(s Storage) string {
	switch {
	case isNFS(s):
		return "nfs"
	case isSMB(s):
		return "cifs"
	case s.Type == pai.StorageAzureBlob, s.Type == pai.StorageS3:
		return "fuse"
	}
	return "file system of this kind"
}

// where says which server a storage is on.
func where(s Storage) string {
	if s.Server == "" {
		return "the server"
	}
	return "server " + s.Server
}

func serverFix(s Storage) string {
	if s.Server == "" {
		return "see whether the file server runs"
	}
	return "start the file service on " + s.Server + ", or mend the network"
}

// silence is about a worker that says nothing. It mounts, most likely, and the servers may tell more.
func (d *diagnosis) silence(t Task) {
	if began, pulling := lastEvent(t.Events, "Pulling"); pulling {
		if _, pulled := lastEvent(t.Events, "Pulled"); !pulled {
			f := imagePulling.finding("image "+t.Image, "", "node %s pulls image %s", t.Node, t.Image)
			f.Since = began.Last
			d.add(f, t.Name)
			return
		}
	}
	d.asked(t, likely, "mounts ")
	if len(d.found) > 0 || d.Now.Sub(t.Bound) < mounting {
		return
	}
	f := starting.finding("node "+t.Node, "", "node %s prepares the task, which takes its time: storages, network, image", t.Node)
	f.Since = t.Bound
	d.add(f, t.Name)
}

// asked is what servers said when the REST server asked them itself.
func (d *diagnosis) asked(t Task, rank int, _ string) {
	for _, s := range d.Storages {
		if f, bad := d.probed(s, t.Node); bad {
			d.addRanked(rank, f, t.Name)
		}
	}
}

// probed makes a finding of what a server said, or did not.
func (d *diagnosis) probed(s Storage, node string) (pai.Finding, bool) {
	if s.Probe == nil || s.Probe.Result == ProbeOK {
		return pai.Finding{}, false
	}
	var f pai.Finding
	object := "server " + s.Server
	switch s.Probe.Result {
	case ProbeRefused:
		f = serverRefused.finding(object, serverFix(s), "%s cannot be reached by node %s: server %s refuses connections", describe(s), node, s.Server)
	case ProbeUnreachable:
		f = serverUnreachable.finding(object, "correct the address in volume "+s.Volume+", or mend the network", "%s cannot be reached by node %s: there is no way to server %s", describe(s), node, s.Server)
	case ProbeVersion:
		f = protocolVersion.finding("volume "+s.Volume, "correct nfsvers= or vers= in the mount options of volume "+s.Volume, "%s cannot be mounted by node %s: server %s does not speak the version of the protocol that the volume asks for", describe(s), node, s.Server)
	case ProbeNoName:
		f = serverName.finding(object, "correct the server in volume "+s.Volume+", or DNS", "%s cannot be reached by node %s: the name %s is not known", describe(s), node, s.Server)
	default:
		f = serverTimeout.finding(object, serverFix(s), "%s cannot be reached by node %s: server %s does not answer", describe(s), node, s.Server)
	}
	f.Evidence = "the REST server asked " + s.Address + " itself: " + s.Probe.Detail
	f.Since = s.Probe.At
	return f, true
}

// servers is about a task that runs, and may hang in a storage.
func (d *diagnosis) servers(t Task) {
	for _, s := range d.Storages {
		if f, bad := d.probed(s, t.Node); bad {
			f.Message = fmt.Sprintf("the task hangs when it uses %s: server %s does not answer", describe(s), s.Server)
			f.Fix = serverFix(s) + "; the task goes on by itself then"
			d.add(f, t.Name)
		}
	}
}

// ending is about a task that was told to end.
func (d *diagnosis) ending(t Task) {
	d.node(t)
	if d.Now.Sub(t.Deleting) < endingMax {
		return
	}
	before := len(d.found)
	for _, s := range d.Storages {
		if f, bad := d.probed(s, t.Node); bad {
			d.add(f, t.Name)
		}
	}
	f := notEnding.finding("task "+t.Name, "kubectl describe node "+t.Node, "task %s was told to end and is still on node %s", t.Name, t.Node)
	if len(d.found) > before {
		f.Fix = "it ends when the server answers again"
	}
	f.Since = t.Deleting
	d.add(f, t.Name)
}
