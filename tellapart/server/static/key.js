// The key, where the server asks for one: typed in once, kept until the tab is closed, sent with every request.

const KEPT = "tellapart-key";
const addresses = new WeakMap();
let asking = null;

const kept = () => sessionStorage.getItem(KEPT);

// as fetch; where a key is missing or refused it is asked for, and the same is tried again
export async function keyed(path, options = {}) {
  for (;;) {
    const key = kept();
    const headers = new Headers(options.headers);
    if (key) headers.set("authorization", `Bearer ${key}`);
    const response = await fetch(path, { ...options, headers });
    // another request may have been given a key meanwhile
    if (response.status !== 401 || (kept() === key && !(await given(key !== null)))) return response;
  }
}

// whether somebody gave a key; however many requests ask, there is one dialog
function given(refused) {
  asking ??= new Promise((done) => {
    const dialog = document.getElementById("key");
    const field = document.getElementById("key-field");
    document.getElementById("key-refused").hidden = !refused;
    field.value = "";
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      if (field.value.trim()) sessionStorage.setItem(KEPT, field.value.trim());
      dialog.close(field.value.trim() ? "given" : "");
    };
    dialog.onclose = () => {
      asking = null;
      done(dialog.returnValue === "given");
      dialog.returnValue = "";
    };
    dialog.showModal();
    field.focus();
  });
  return asking;
}

// an address in an image sends no key, so with one the picture is fetched when it comes near
export function load(image, address) {
  if (!kept()) {
    image.src = address;
    return;
  }
  addresses.set(image, address);
  near.observe(image);
}

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    fetched(target, addresses.get(target));
  }
}, { rootMargin: "600px" });

async function fetched(image, address) {
  try {
    const response = await keyed(address);
    if (!response.ok) throw new Error(response.status);
    const url = URL.createObjectURL(await response.blob());
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}
