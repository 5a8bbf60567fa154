// Package scripts runs the scripts that need what no test has, such as an account
// at a cloud, with stand-ins for the programs that they call.
package scripts
