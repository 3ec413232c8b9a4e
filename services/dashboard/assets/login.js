/** Says why the last attempt to log in did not work. */
const asked = new URLSearchParams(location.search);
const wrong = document.getElementById("wrong");
const wait = Number(asked.get("wait"));
if (wait > 0) {
  wrong.textContent = `Too many wrong passwords. Try again in ${Math.ceil(wait)} s.`;
} else if (asked.has("wrong")) {
  wrong.textContent = "That is not the password.";
}
