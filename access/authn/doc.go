// Package authn tells who is asking: it makes and checks the credentials that a principal shows.
//
//   - A service token is the vault's own: random, kept as a digest ([NewServiceToken], [ParseServiceToken]).
//   - A bearer token is a JWT that an issuer of the operator signed, about a system or one of the staff ([Issuers]).
//   - A client certificate is a system's, by a name in it ([Certificates]).
//   - The code flow with PKCE gets one of the staff a bearer token by way of a browser ([Flow]).
//
// Whatever is shown, the answer is an access.Principal or a refusal that tells the caller nothing but that a valid
// credential is required; the cause, without the credential or what it says, is for the log. What cannot be checked (an
// unreadable list of revoked certificates, an unknown algorithm, a claim twice) is refused.
package authn
