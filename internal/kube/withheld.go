package kube

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	pai "github.com/pai-storage/pai-storage"
)

// withheld stands where a value is that may be a secret.
const withheld = "(withheld)"

// secretKey matches the names of options, attributes and environment variables that may carry a credential.
var secretKey = regexp.MustCompile(`(?i)pass|secret|key|token|sas|credential|^cred|^pwd$|^user(name)?$|auth|^sig(nature)?$`)

// withoutSecrets returns what may be shown of a volume's attributes.
func withoutSecrets(data map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range data {
		if !secretKey.MatchString(key) {
			out[key] = withoutSecretParts(value)
		}
	}
	return out
}

// withoutSecretParts returns what may be shown of a value: addresses without the password in them, lists of options without those that
// are secret.
func withoutSecretParts(value string) string {
	value = pai.WithoutCredentials(value)
	if strings.HasPrefix(value, "/") || strings.Contains(value, "://") { // a place, which may have any name
		return value
	}
	shown, _ := withoutSecretOption(value)
	return shown
}

func withoutSecretOptions(options []string) []string {
	var out []string
	for _, option := range options {
		if shown, any := withoutSecretOption(option); any {
			out = append(out, shown)
		}
	}
	return out
}

// withoutSecretOption returns what may be shown of an option, which may be several with commas between them, and whether that is anything.
func withoutSecretOption(option string) (string, bool) {
	var shown []string
	for part := range strings.SplitSeq(option, ",") {
		if !isSecretOption(part) {
			shown = append(shown, pai.WithoutCredentials(part))
		}
	}
	return strings.Join(shown, ","), len(shown) > 0
}

// isSecretOption knows "password=x", "-o password=x", "--password x", and flags that only sound like that: "noauth".
func isSecretOption(option string) bool {
	valued := strings.Contains(option, "=")
	for _, word := range strings.Fields(option) {
		key, _, _ := strings.Cut(word, "=")
		name := strings.TrimLeft(key, "-")
		if (valued || strings.HasPrefix(key, "--")) && secretKey.MatchString(name) {
			return true
		}
	}
	return false
}

// withholdInPod takes the secrets out of a pod that are written into its description: people should not, and do.
func withholdInPod(p *corev1.PodSpec) {
	for i := range p.InitContainers {
		withholdInEnvironment(p.InitContainers[i].Env)
	}
	for i := range p.Containers {
		withholdInEnvironment(p.Containers[i].Env)
	}
	for i := range p.EphemeralContainers {
		withholdInEnvironment(p.EphemeralContainers[i].Env)
	}
	for i := range p.Volumes {
		if flex := p.Volumes[i].FlexVolume; flex != nil {
			withholdIn(flex.Options)
		}
		if csi := p.Volumes[i].CSI; csi != nil {
			withholdIn(csi.VolumeAttributes)
		}
	}
}

func withholdInEnvironment(env []corev1.EnvVar) {
	for i, e := range env {
		switch {
		case e.Value == "":
		case secretKey.MatchString(e.Name):
			env[i].Value = withheld
		default:
			env[i].Value = pai.WithoutCredentials(e.Value)
		}
	}
}

func withholdIn(attributes map[string]string) {
	for key, value := range attributes {
		attributes[key] = withoutSecretParts(value)
		if secretKey.MatchString(key) {
			attributes[key] = withheld
		}
	}
}
