package pai

import (
	"maps"
	"slices"
	"strings"
)

// jobSSH and jobSSHKey are where the original's portal keeps a user's private SSH key.
const (
	jobSSH    = "jobSSH"
	jobSSHKey = "key"
)

// isPrivate tells whether a value of an extension is a private key, or a list with one in it.
func isPrivate(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.Contains(v, "PRIVATE KEY-----")
	case []any:
		return slices.ContainsFunc(v, holdsPrivate)
	}
	return false
}

// holdsPrivate tells whether there is a private key anywhere in a value.
func holdsPrivate(value any) bool {
	object, ok := value.(map[string]any)
	if !ok {
		return isPrivate(value)
	}
	for _, v := range object {
		if holdsPrivate(v) {
			return true
		}
	}
	return false
}

// hasPrivate tells whether there is anything to withhold in an extension.
func hasPrivate(extension map[string]any) bool {
	ssh, _ := extension[jobSSH].(map[string]any)
	_, given := ssh[jobSSHKey]
	return given || holdsPrivate(extension)
}

// withoutPrivate returns the extension without the private keys in it; the extension itself when there are none. It is never nil.
func withoutPrivate(extension map[string]any) map[string]any {
	switch {
	case extension == nil:
		return map[string]any{}
	case !hasPrivate(extension):
		return extension
	}
	public, _ := splitPrivate(extension)
	return public
}

// privateOf returns the private keys of an extension alone, each at its place.
func privateOf(extension map[string]any) map[string]any {
	_, private := splitPrivate(extension)
	return private
}

func splitPrivate(extension map[string]any) (public, private map[string]any) {
	public, private = split(extension)
	if ssh, ok := public[jobSSH].(map[string]any); ok && ssh[jobSSHKey] != nil {
		hidden, _ := private[jobSSH].(map[string]any)
		private[jobSSH] = merge(hidden, map[string]any{jobSSHKey: ssh[jobSSHKey]})
		ssh = maps.Clone(ssh)
		delete(ssh, jobSSHKey)
		public[jobSSH] = ssh
	}
	return public, private
}

// split parts an object into what may be shown and what is a private key.
func split(object map[string]any) (public, private map[string]any) {
	public, private = map[string]any{}, map[string]any{}
	for key, value := range object {
		inner, isObject := value.(map[string]any)
		switch {
		case isPrivate(value):
			private[key] = value
		case isObject:
			shown, hidden := split(inner)
			public[key] = shown
			if len(hidden) > 0 {
				private[key] = hidden
			}
		default:
			public[key] = value
		}
	}
	return public, private
}
