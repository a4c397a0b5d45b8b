package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// root is the user who may do everything anyway.
const root = 0

// ownerOf is the number of the user to whom a file belongs.
func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// checkOwner refuses what belongs to another user than this process's: that one may change it, and what this one makes
// there, as root too, that one cannot open.
func checkOwner(path string, info fs.FileInfo) error {
	owner, us := ownerOf(info), os.Geteuid()
	if owner == us {
		return nil
	}
	err := fmt.Errorf("%s belongs to the user %s, and this is %s", path, userName(owner), userName(us))
	if us == root {
		return hinted(err, "run it as that user: sudo -u %s sandyq …", userName(owner))
	}
	return hinted(err, "if it is Sandyq's, run chown -R %d %s as root; a store is a copy then, until `sandyq promote`", us, path)
}

// userName is a user's name, or '#number' of one that has none, as sudo takes it in a shell.
func userName(id int) string {
	if u, err := user.LookupId(strconv.Itoa(id)); err == nil {
		return u.Username
	}
	return "'#" + strconv.Itoa(id) + "'"
}
