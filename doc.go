// Package pai holds the nouns of PAI Storage and their contracts: [Storage], [Group], [User], [Caller] and [Job].
//
// A storage is a PersistentVolumeClaim that users may mount into their jobs. Administrators grant storages to groups;
// a user may mount what the user's groups were granted. Users sign in, get a token, and submit jobs that mount storages.
//
// Use it wherever these nouns are spoken of. Its rules:
//
//   - It imports the standard library only, and knows neither HTTP nor Kubernetes.
//   - Names are parsed once, at the edge, into [StorageName], [GroupName], [UserName] and [JobName]. Whoever holds one of these types
//     need not check it again.
//   - Services ([StorageService], [GroupService], ...) state which [Code] they answer when. Front ends get them from the guard
//     (package auth), which knows who is calling from [CallerFrom].
//   - What reaches people is an [*Error]. Every other error is internal: it is logged, and never shown.
//
// Example:
//
//	name, err := pai.ParseStorageName("nfs-storage")
//	if err != nil {
//		return err // *pai.Error, InvalidParametersError
//	}
//	storage, err := storages.Storage(ctx, name)
//	if pai.CodeOf(err) == pai.NoStorageError {
//		...
//	}
package pai
