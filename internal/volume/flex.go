package volume

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// Flex reads the options of a FlexVolume. Keys of Kubernetes' own ("kubernetes.io/...") are passed over.
//
//	microsoft.com/smb   source (//server/share), mountoptions (those of mount.cifs, separated by commas)
//	azure/blobfuse      container, tmppath, mountoptions (words of blobfuse's command line)
//
// The endpoint of Azure Blob is in the Secret: [WithSecret] adds it.
func Flex(driver string, options map[string]string, readOnly bool) (mount.Volume, error) {
	switch driver {
	case FlexSMB:
		source, err := smbSource("source", options["source"], "")
		if err != nil {
			return mount.Volume{}, err
		}
		list, err := mountOptions(strings.Split(options["mountoptions"], ","))
		return mount.Volume{Kind: mount.SMB, Source: source, Options: list, ReadOnly: readOnly || slices.Contains(list, "ro")}, err
	case FlexBlob:
		source, err := objectSource("container", options["container"], "")
		if err != nil {
			return mount.Volume{}, err
		}
		list, err := blobfuseOptions(options["mountoptions"])
		return mount.Volume{Kind: mount.AzureBlob, Source: source, Options: list, ReadOnly: readOnly || slices.Contains(list, "ro")}, err
	}
	return mount.Volume{}, fmt.Errorf("FlexVolume driver %q is not one of ours: %s, %s", driver, FlexSMB, FlexBlob)
}

// tuning are options of blobfuse that change how it works, and nothing for whoever uses the mount.
var tuning = []string{
	"tmp-path", "config-file", "file-cache-timeout-in-seconds", "file-cache-timeout", "attr-cache-timeout", "entry-timeout", "negative-timeout", "cache-size-mb",
	"cache-poll-timeout-msec", "max-eviction", "high-disk-threshold", "low-disk-threshold", "max-concurrency", "max-retry", "max-retry-interval-in-seconds", "retry-delay-factor",
	"cancel-list-on-mount-seconds", "streaming", "stream-cache-mb", "max-blocks-per-file", "block-size-mb", "log-level", "use-https", "use-attr-cache", "attr_timeout", "entry_timeout",
	"negative_timeout", "upload-modified-only", "background-download", "pre-mount-validate", "disable-writeback-cache", "lazy-write", "no-symlinks", "basic-remount-check", "tmppath",
	"empty-dir-check", "invalidate-on-sync", "allow-other", "disable-kernel-cache", "sync-to-flush", "ignore-open-flags", "file-cache-max-size-mb",
}

// fuseOptions are those of FUSE that a mount of ours knows, or has anyhow.
var fuseOptions = []string{"allow_other", "umask", "uid", "gid", "ro", "file_mode", "dir_mode", "default_permissions"}

// passedOver are options of mounts that say nothing about the file system.
var passedOver = []string{"rw", "auto", "noauto", "users", "user", "nonempty", "nosuid", "nodev", "exec", "suid", "dev", "_netdev", "direct_io", "kernel_cache", "big_writes"}

// blobfuseOptions translates the words of blobfuse's command line into options of the engine.
func blobfuseOptions(text string) ([]string, error) {
	if strings.ContainsFunc(text, control) {
		return nil, fmt.Errorf("mountoptions: it has control characters")
	}
	var out []string
	words := strings.Fields(text)
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case word == "-o" && i+1 < len(words):
			i++
			list, err := fuseWords(words[i])
			if err != nil {
				return nil, err
			}
			out = append(out, list...)
		case strings.HasPrefix(word, "-o") && !strings.HasPrefix(word, "--") && len(word) > 2:
			list, err := fuseWords(word[2:])
			if err != nil {
				return nil, err
			}
			out = append(out, list...)
		case word == "--read-only":
			out = append(out, "ro")
		case strings.HasPrefix(word, "--"):
			name, _, assigned := strings.Cut(strings.TrimPrefix(word, "--"), "=")
			if !slices.Contains(tuning, name) {
				return nil, fmt.Errorf("mountoptions: blobfuse's --%s has no counterpart here; leave it out", clip(name))
			}
			if !assigned && i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
				i++ // its value
			}
		default:
			list, err := fuseWords(word)
			if err != nil {
				return nil, err
			}
			out = append(out, list...)
		}
	}
	return out, nil
}

// fuseWords reads options of FUSE, separated by commas.
func fuseWords(text string) ([]string, error) {
	var out []string
	for word := range strings.SplitSeq(text, ",") {
		name, _, _ := strings.Cut(word, "=")
		switch {
		case word == "" || slices.Contains(tuning, name) || slices.Contains(passedOver, name):
		case slices.Contains(fuseOptions, name):
			out = append(out, word)
		default:
			return nil, fmt.Errorf("mountoptions: %q is unknown for object stores; there are %s", clip(name), strings.Join(fuseOptions, ", "))
		}
	}
	return out, nil
}
