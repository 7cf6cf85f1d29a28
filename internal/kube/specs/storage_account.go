package specs

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	pai "github.com/pai-storage/pai-storage"
)

// StorageAccountNamespace holds the accounts of users at the SMB server, and nothing else: one Secret each.
const StorageAccountNamespace = "pai-storage-account"

// The keys of an account's Secret. The NT hash is as good as the password where SMB is spoken.
const (
	StorageAccountUser   = "username"
	StorageAccountNTHash = "nthash" // upper-case hexadecimal
	StorageAccountSet    = "set"    // RFC 3339
	StorageAccountAdmin  = "admin"  // "true" or "false"
)

// StorageAccountName is the name of the Secret of a user's account.
func StorageAccountName(user pai.UserName) string { return hex.EncodeToString([]byte(user)) }

// FillStorageAccount writes an account into its Secret. What else is in the Secret stays.
func FillStorageAccount(s *corev1.Secret, a pai.StorageAccount, nt pai.PasswordHash) {
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	s.Data[StorageAccountUser] = []byte(a.User)
	s.Data[StorageAccountNTHash] = []byte(nt)
	s.Data[StorageAccountSet] = []byte(a.Set.UTC().Format(time.RFC3339))
	s.Data[StorageAccountAdmin] = strconv.AppendBool(nil, a.Admin)
}

// ParseStorageAccount is the reverse of [FillStorageAccount], but for the hash.
func ParseStorageAccount(s *corev1.Secret) (pai.StorageAccount, error) {
	name, err := pai.ParseUserName(string(s.Data[StorageAccountUser]))
	if err != nil {
		return pai.StorageAccount{}, fmt.Errorf("%s: %w", StorageAccountUser, err)
	}
	if StorageAccountName(name) != s.Name {
		return pai.StorageAccount{}, fmt.Errorf("%s %q does not belong to this Secret", StorageAccountUser, name)
	}
	set, err := time.Parse(time.RFC3339, string(s.Data[StorageAccountSet]))
	if err != nil {
		return pai.StorageAccount{}, fmt.Errorf("%s is no time as in RFC 3339", StorageAccountSet)
	}
	return pai.StorageAccount{User: name, Set: set.UTC(), Admin: string(s.Data[StorageAccountAdmin]) == "true"}, nil
}

// ntHashLength is the length of an NT hash in hexadecimal.
const ntHashLength = 32

// ParseNTHash returns the hash of an account. Its errors do not show it.
func ParseNTHash(s *corev1.Secret) (pai.PasswordHash, error) {
	text := s.Data[StorageAccountNTHash]
	if len(text) != ntHashLength {
		return "", fmt.Errorf("%s has %d characters, want %d", StorageAccountNTHash, len(text), ntHashLength)
	}
	for _, b := range text {
		if (b < '0' || b > '9') && (b < 'A' || b > 'F') {
			return "", fmt.Errorf("%s has other characters than 0-9 and A-F", StorageAccountNTHash)
		}
	}
	return pai.PasswordHash(text), nil
}
