package auth

import (
	"sync"
	"sync/atomic"

	pai "github.com/pai-storage/pai-storage"
)

// memberships is what a list of groups comes to. It is shared, so not to be modified.
type memberships struct {
	groups []pai.GroupName // those that exist
	grants pai.Grants

	storages atomic.Pointer[grantedStorages]
}

// grantedStorages are the usable ones among those granted, for one generation of the storages.
type grantedStorages struct {
	generation uint64
	list       []pai.Storage
}

// memberships adds up what a user's groups grant: once for each list of groups that occurs, as long as no group changes.
func (a *Accounts) memberships(u pai.User) *memberships {
	generation := a.cluster.GroupsGeneration() // before the groups are read: a change meanwhile makes the sum void
	var buffer [256]byte
	key := buffer[:0]
	for _, g := range u.Groups {
		key = append(append(key, g...), 0)
	}
	if m, ok := a.sums.get(generation, key); ok {
		return m
	}
	groups := a.cluster.GroupsOf(u)
	m := &memberships{groups: make([]pai.GroupName, len(groups)), grants: pai.GrantsOf(groups)}
	for i, g := range groups {
		m.groups[i] = g.Name
	}
	a.sums.put(generation, key, m)
	return m
}

func (a *Accounts) grants(u pai.User) pai.Grants { return a.memberships(u).grants }

// sums remembers memberships by list, for one generation of the groups.
type sums struct {
	mu         sync.RWMutex
	generation uint64
	known      map[string]*memberships
}

// maxSums bounds the memory. All are forgotten then: those in use are back with their next request.
const maxSums = 20_000

func (s *sums) get(generation uint64, key []byte) (*memberships, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.generation != generation {
		return nil, false
	}
	m, ok := s.known[string(key)]
	return m, ok
}

func (s *sums) put(generation uint64, key []byte, m *memberships) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || s.generation != generation || len(s.known) >= maxSums {
		s.generation, s.known = generation, map[string]*memberships{}
	}
	s.known[string(key)] = m
}
