// Loaded before the conformance suite: a few of its scenarios speak plain HTTP whatever the URL
// says, so that they can write headers as they like. Here they speak TLS, and nothing else changes.
import http from "node:http";
import https from "node:https";

http.request = https.request;
