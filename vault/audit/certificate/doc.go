// Package certificate holds the certificate of an erasure: what an outsider, the person or a regulator, can check with
// nothing but the public key of the operator's log.
//
// # Model
//
// A certificate is a [Content] that the log's key has signed: whose erasure, on which ground, when, which keys were
// destroyed, what law keeps and what may still lie somewhere and until when. Beside it in a [Document] lie the two entries
// of the audit log that tell of the same erasure, erasure.key_destroyed and erasure.erased, as the very bytes that were
// logged, each with the proof that it is in the log, and the words by which a log passes on its key. [Verify] holds all of
// them together and says what that proves and what is only the operator's word (see [Verified.Proved] and
// [Verified.Stated]).
//
// The log commits to what was destroyed and not only to that something was: the entry erasure.key_destroyed carries
// [Destroyed.Digest].
//
// There is one certificate of an erasure, whoever asks. It names the person by the vault-wide random id, which the entries
// have too. No system is told that id of anybody who lives, and of one person at most one system ever is: the one that had
// them erased, and only when it alone held them. So it joins nothing. What that system called the person stands beside it, because that is what the person
// and the system can find again. It holds no value of the person, and no token.
//
// # Format
//
// A note (c2sp.org/signed-note) of two lines: a header that says what it is and in which version, and the content as JSON in
// the canonical form of RFC 8785, in one line. The header has spaces, which no origin of a log has, so no certificate passes
// for a checkpoint. Times are RFC 3339 in UTC, to the millisecond at most. A [Removal], which says that the remains were
// measured to be gone, is a note of the same form under a header of its own.
//
// A document is JSON in the same canonical form and ends in a newline. Parsers here accept what the writers here would write
// for the same content and nothing else, and at most [MaxDocument] bytes of it.
//
// docs/formats.md lists the members, docs/verify.md says how to check a certificate without this program.
package certificate
