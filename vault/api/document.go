package api

// Document is a part of a document as its upload answers. Nothing here is read from the scan's content but its media
// type, size and digest.
type Document struct {
	Document  string `json:"document"`
	Token     string `json:"token,omitempty"` // the calling system's
	Kind      string `json:"kind"`
	Side      string `json:"side,omitempty"`
	MediaType string `json:"media_type"`
	Size      int64  `json:"size"`   // bytes of the plaintext
	SHA256    string `json:"sha256"` // hexadecimal, of the plaintext
	Part      int    `json:"part"`   // which part of the document this is, from 1
}

// OpenDocumentRequest is the body of POST /v1/documents/open.
type OpenDocumentRequest struct {
	Token      string `json:"token"`
	Purpose    string `json:"purpose"`
	Recipient  string `json:"recipient,omitempty"` // as in DetokenizeRequest
	Reason     string `json:"reason"`
	Note       string `json:"note,omitempty"`
	OnBehalfOf *Actor `json:"on_behalf_of,omitempty"`
	Part       int    `json:"part,omitzero"` // from 1, the first unless said
}

// OpenDocumentResponse has a short-lived handle, bound to the caller.
type OpenDocumentResponse struct {
	Content   string `json:"content"` // a path: /v1/content/<handle>
	ExpiresAt Time   `json:"expires_at"`
	Document  string `json:"document"`
	Part      int    `json:"part"`
	Parts     int    `json:"parts"`
	MediaType string `json:"media_type"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
}
