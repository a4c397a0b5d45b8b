// Package vault is the domain: people, the data held about them, and the operations on both.
//
// # Model
//
// A subject is a person. The subject row (state, epoch, keys, blocks) is the only authority on whether the person's data
// may be used. A record is one value of one field, sealed under the key of its field's slice; a document is one or more
// scans, each sealed in a blob under the key of the documents slice. A system is a calling application: it holds a person
// under a pairwise id of its own and refers to values by tokens of its own, so two systems cannot join what they hold.
//
// # How a change is made
//
// Every operation reads one snapshot, decides and seals outside any transaction, and ends in a short Update that checks
// that what it read still stands and then writes: see draft. Every write to anything of a person also moves the revision
// in the subject row, so checking that one row checks them all. The audit entry is part of the same Update.
//
// # How data is disclosed
//
// The Update that records the reading, at the epoch that was decided on, comes first; only then does the gate grant, and
// only a grant opens keys (see disclose). A block or an erasure commits, purges the open keys, cuts what is being
// streamed, and only then answers: no reading that begins after that answer gets anything.
package vault
