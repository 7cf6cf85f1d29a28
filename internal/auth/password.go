package auth

import (
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	pai "github.com/pai-storage/pai-storage"
)

// Cost of new password hashes: Argon2id with OWASP's smallest recommended parameters, because logins share a machine with everything else.
const (
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonThreads = 1
	argonLength  = 32
	argonPrefix  = "$argon2id$"
)

// hashPassword makes a hash that says in its prefix how to verify it.
func hashPassword(p pai.Password) pai.PasswordHash {
	salt := make([]byte, 16)
	rand.Read(salt)
	sum := argon2.IDKey([]byte(p), salt, argonTime, argonMemory, argonThreads, argonLength)
	b64 := base64.RawStdEncoding
	return pai.PasswordHash(fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", argonPrefix, argon2.Version, argonMemory, argonTime, argonThreads,
		b64.EncodeToString(salt), b64.EncodeToString(sum)))
}

// verifyPassword tells whether p is the password of the hash, and whether the hash is one of the original's.
func verifyPassword(user pai.UserName, p pai.Password, hash pai.PasswordHash) (matches, old bool) {
	if strings.HasPrefix(string(hash), argonPrefix) {
		return verifyArgon(p, string(hash)), false
	}
	sum := originalHash(user, p)
	return subtle.ConstantTimeCompare([]byte(sum), []byte(hash)) == 1, true
}

func verifyArgon(p pai.Password, hash string) bool {
	parts := strings.Split(hash, "$") // "", argon2id, v=, m=,t=,p=, salt, sum
	if len(parts) != 6 || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return false
	}
	var memory, time uint32
	var threads uint8
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &time, &threads); err != nil {
		return false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	// The bounds keep a damaged hash from taking all memory, or making argon2 panic.
	if err1 != nil || err2 != nil || len(want) < 16 || len(want) > 128 || memory > 1<<20 || time < 1 || time > 64 || threads < 1 {
		return false
	}
	got := argon2.IDKey([]byte(p), salt, time, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1
}

// originalHash is the hash of the original: PBKDF2-SHA512 with the hexadecimal MD5 of the user name as the salt.
func originalHash(user pai.UserName, p pai.Password) string {
	salt := md5.Sum([]byte(user))
	sum, err := pbkdf2.Key(sha512.New, string(p), []byte(hex.EncodeToString(salt[:])), 10_000, 64)
	if err != nil {
		panic(err) // impossible: the parameters are constants that the standard library takes
	}
	return hex.EncodeToString(sum)
}
