package fileaccess

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"slices"

	corev1 "k8s.io/api/core/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// Account is a user's own account at the SMB server.
type Account struct {
	Name   pai.UserName
	NTHash pai.PasswordHash // MD4 of the password in UTF-16LE, upper-case hexadecimal: as good as the password where SMB is spoken
	Admin  bool

	// Refused is why the user cannot have the account, for people; the fields NTHash and Admin are empty then. "" for one who has it.
	Refused string
}

// WatchAccounts tells changed which users have accounts, sorted by name, until ctx ends. No two names differ in case only: the SMB server
// would not tell them apart, so the older account counts. Nor is there one with a name that is the server's own. Users who are refused for such
// a reason are in the list with it.
func WatchAccounts(ctx context.Context, client kubernetes.Interface, log *slog.Logger, changed func([]Account)) error {
	informer := coreinformers.NewSecretInformer(client, specs.StorageAccountNamespace, 0, cache.Indexers{})
	r := &reader{log: logger(log), told: map[string]string{}}
	return watch(ctx, informer, slimSecret, r.accounts, changed)
}

func slimSecret(obj any) (any, error) {
	if s, ok := obj.(*corev1.Secret); ok {
		s.ManagedFields, s.Annotations = nil, nil
	}
	return obj, nil
}

// reader makes accounts of Secrets, and says of each version once why it cannot.
type reader struct {
	log  *slog.Logger
	told map[string]string // name -> version
}

// accounts are those of the Secrets that can be read.
func (r *reader) accounts(objects []any) []Account {
	secrets := make([]*corev1.Secret, 0, len(objects))
	for _, obj := range objects {
		if s, ok := obj.(*corev1.Secret); ok {
			secrets = append(secrets, s)
		}
	}
	slices.SortFunc(secrets, func(a, b *corev1.Secret) int { // the older first: as the REST server decides it
		return cmp.Or(a.CreationTimestamp.Time.Compare(b.CreationTimestamp.Time), bytes.Compare(a.Data[specs.StorageAccountUser], b.Data[specs.StorageAccountUser]))
	})
	out, taken := make([]Account, 0, len(secrets)), map[string]pai.UserName{}
	for _, s := range secrets {
		account, err := accountOf(s)
		if err == nil {
			if other, is := taken[pai.StorageAccountKey(account.Name)]; is {
				err = pai.StorageAccountTaken(account.Name, other)
			}
		}
		if err != nil {
			r.say(s, err)
			if account.Name != "" {
				out = append(out, Account{Name: account.Name, Refused: err.Error()})
			}
			continue
		}
		taken[pai.StorageAccountKey(account.Name)] = account.Name
		out = append(out, account)
	}
	slices.SortFunc(out, func(a, b Account) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// accountOf is the account in a Secret. With an error it has the user's name alone, or nothing where the Secret does not say whose it is.
func accountOf(s *corev1.Secret) (Account, error) {
	a, err := specs.ParseStorageAccount(s)
	if err != nil {
		return Account{}, err
	}
	if err := pai.CheckStorageAccount(a.User); err != nil {
		return Account{Name: a.User}, err
	}
	hash, err := specs.ParseNTHash(s)
	return Account{Name: a.User, NTHash: hash, Admin: a.Admin}, err
}

func (r *reader) say(s *corev1.Secret, err error) {
	if r.told[s.Name] == s.ResourceVersion {
		return
	}
	r.told[s.Name] = s.ResourceVersion
	r.log.Warn("an SMB account is not usable and is ignored", "namespace", s.Namespace, "name", s.Name, "cause", err.Error())
}
