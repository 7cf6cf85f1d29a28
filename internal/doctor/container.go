package doctor

import (
	"fmt"
	"regexp"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// containers is about what the worker says about the containers of a task.
func (d *diagnosis) containers(t Task) {
	for _, c := range append(append([]Container{}, t.Init...), t.Main) {
		switch {
		case c.Ended != nil && c.Ended.Code != 0:
			d.ended(t, c)
		case c.Waiting.Reason != "":
			d.waiting(t, c)
		}
	}
}

// subPathPattern finds the mount that a worker cannot prepare.
var subPathPattern = regexp.MustCompile(`(?i)sub ?path.* for volumeMount "([^"]+)"`)

func (d *diagnosis) waiting(t Task, c Container) {
	var f pai.Finding
	w := c.Waiting
	image := "image " + t.Image
	switch w.Reason {
	case "", "PodInitializing", "ContainerCreating":
		return
	case "InvalidImageName":
		f = imageName.finding(image, "correct uri in prerequisites", "%q is no name of an image", t.Image)
	case "ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ErrImageNeverPull", "ImageInspectError":
		f = d.image(t, w.Message)
	case "CreateContainerConfigError":
		f = d.config(t, w.Message)
	default: // RunContainerError, CreateContainerError, StartError, CrashLoopBackOff
		f = noCommand.finding(image, "use an image with /bin/sh", "node %s cannot start the task with image %s", t.Node, t.Image)
	}
	if f.Evidence == "" {
		f.Evidence = w.Message
	}
	if e, ok := lastEvent(t.Events, "Failed", "InspectFailed"); ok {
		f.Since = e.Last
	}
	d.add(f, t.Name)
}

// Signs in what registries and the worker's network say.
var (
	noSuchImage   = regexp.MustCompile(`(?i)not found|manifest unknown|does not exist`)
	imageRefused  = regexp.MustCompile(`(?i)\b40[13]\b|unauthorized|denied|authentication required|insufficient_scope`)
	registryAway  = regexp.MustCompile(`(?i)no such host|dial tcp|i/o timeout|connection refused|no route to host|network is unreachable|TLS handshake|deadline exceeded|lookup .* on `)
	registryOfURL = regexp.MustCompile(`https?://([^/"\s]+)`)
)

func (d *diagnosis) image(t Task, message string) pai.Finding {
	if e, ok := lastEvent(t.Events, "Failed"); ok && strings.Contains(e.Message, "pull") { // the back-off itself forgets why
		message = e.Message
	}
	image := "image " + t.Image
	var f pai.Finding
	switch {
	case registryAway.MatchString(message):
		name := "of image " + t.Image
		if m := registryOfURL.FindStringSubmatch(message); m != nil {
			name = m[1]
		}
		f = imageRegistry.finding(image, "correct the image's name, or let "+t.Node+" reach the registry", "node %s cannot pull image %s: registry %s does not answer", t.Node, t.Image, name)
	case imageRefused.MatchString(message) && !noSuchImage.MatchString(message):
		f = imageDenied.finding(image, "give the right user and password in the prerequisite's auth", "node %s cannot pull image %s: the registry denies access", t.Node, t.Image)
	default:
		f = imageMissing.finding(image, "correct uri in prerequisites", "node %s cannot pull image %s: the registry does not have it", t.Node, t.Image)
	}
	f.Evidence = message
	return f
}

// config is about a container that cannot even be described to the worker's container runtime.
func (d *diagnosis) config(t Task, message string) pai.Finding {
	if m := subPathPattern.FindStringSubmatch(message); m != nil {
		if s, ok := d.storageAt([]string{m[1]}); ok {
			return d.folder(t, s, message)
		}
	}
	if m := secretNotFound.FindStringSubmatch(message); m != nil {
		return badSecret.finding("secret "+m[1], "submit the job again under another name", "the Secret %s of the job does not exist", m[1])
	}
	return noCommand.finding("task "+t.Name, "the evidence is what the worker says", "node %s cannot prepare the task", t.Node)
}

// folder is about the folder of a storage that the worker cannot prepare.
func (d *diagnosis) folder(t Task, s Storage, message string) pai.Finding {
	name := "storage " + string(s.Name)
	switch {
	case strings.Contains(strings.ToLower(message), "stale"):
		return mountFault(s, t.Node, message)
	case strings.Contains(message, "create subPath") || strings.Contains(message, "permission denied"):
		return folderCreate.finding(name, "create the folder on the server and give it to the user", "node %s cannot create the folder of user %s in %s", t.Node, d.Job.ID.User, describe(s))
	}
	return subPath.finding(name, "see what is in its place on the server: a link or a file is not used", "node %s cannot use the folder of user %s in %s", t.Node, d.Job.ID.User, describe(s))
}

// sandbox is about the task's network.
func (d *diagnosis) sandbox(t Task) {
	e, ok := lastEvent(t.Events, "FailedCreatePodSandBox")
	if !ok || (t.Sandbox != nil && *t.Sandbox) {
		return
	}
	f := network.finding("node "+t.Node, "see its CNI plugin: kubectl describe node "+t.Node, "node %s cannot make the task's network", t.Node)
	f.Evidence, f.Since = e.Message, e.Last
	d.add(f, t.Name)
}

// failure is about a job that failed.
func (d *diagnosis) failure() {
	for _, t := range d.Tasks {
		if t.State == pai.JobFailed {
			d.failed(t)
		}
	}
	d.roles()
}

// failed is about a task that failed: for good, or about to be tried again.
func (d *diagnosis) failed(t Task) {
	before := len(d.found)
	for _, c := range t.Init {
		if c.Ended != nil && c.Ended.Code != 0 {
			d.ended(t, c)
		}
	}
	if len(d.found) > before {
		return
	}
	switch {
	case t.PodReason == "Evicted" || t.PodReason == "Preempting":
		f := evicted.finding("node "+t.Node, "ask for as much as the task needs in resourcePerInstance", "node %s ended the task, because it ran short of something", t.Node)
		f.Evidence = t.PodMessage
		d.add(f, t.Name)
	case t.PodReason == "NodeLost" || t.PodReason == "NodeShutdown" || t.PodReason == "Terminated" || t.PodReason == "NodeAffinity":
		f := nodeDown.finding("node "+t.Node, "submit the job again", "node %s went away under the task", t.Node)
		f.Evidence = t.PodMessage
		d.add(f, t.Name)
	case t.Main.Ended != nil:
		d.ended(t, t.Main)
	case t.PodReason != "" || t.PodMessage != "":
		f := ownFault.finding("task "+t.Name, "the evidence is what the worker says", "task %s failed on node %s: %s", t.Name, t.Node, t.PodReason)
		f.Evidence = t.PodMessage
		d.add(f, t.Name)
	}
	if d.Job.State != pai.JobFailed && len(d.found) > before {
		f := retrying.finding("task "+t.Name, "", "task %s is about to be tried again", t.Name)
		if t.Main.Ended != nil {
			f.Since = t.Main.Ended.At
		}
		d.add(f, t.Name)
	}
}

// ended is about a container that ended with an error.
func (d *diagnosis) ended(t Task, c Container) {
	var f pai.Finding
	switch {
	case c.Name != mainContainer && c.Name != "":
		f = d.prepared(t, c)
	case c.Ended.Reason == "OOMKilled":
		f = outOfMemory.finding("task "+t.Name, "raise memoryMB in resourcePerInstance, or use less", "task %s used more than %d MB of memory and was killed", t.Name, d.resources(t.Role).MemoryMB)
	case c.Ended.Reason == "StartError" || c.Ended.Reason == "ContainerCannotRun":
		f = noCommand.finding("image "+t.Image, "use an image with /bin/sh", "node %s cannot start the task with image %s", t.Node, t.Image)
		f.Evidence = c.Ended.Message
	default:
		f = ownFault.finding("task "+t.Name, fmt.Sprintf("read its log: paictl job logs %s", d.logArguments(t)), "the command of task %s ended with exit code %d", t.Name, c.Ended.Code)
		f.Evidence = c.Ended.Message
	}
	f.Since = c.Ended.At
	d.add(f, t.Name)
}

// mainContainer is the container that runs the task's own commands.
const mainContainer = "task"

// logArguments name a task to paictl job logs.
func (d *diagnosis) logArguments(t Task) string {
	index := strings.TrimSuffix(strings.TrimPrefix(t.Name, t.Role+"["), "]")
	return fmt.Sprintf("%s --task-role %s --task-index %s", d.Job.ID, t.Role, index)
}
