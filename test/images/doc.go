// Package images builds the images with hack/images.sh and build/Dockerfile, on
// bases that are made here, and looks at what comes out.
package images
